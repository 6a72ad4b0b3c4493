"""Exports for several images at once: what is taken, what the manifest says, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.api.export import Export
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import onnxfile

helper = pytest.importorskip("onnx.helper")

CLASSES, BOXES = 3, 84
"""A head with grids of 8 x 8, 4 x 4 and 2 x 2 cells answers 84 boxes for 64 x 64 pixels."""


def network(folder: Path, batch: Any, *, into: int = 0, mixes: bool = False) -> Path:
    """A graph that answers some of the image's values as boxes. `into` is the batch written into
    it (0 is that of the input); `mixes` takes the mean of a batch off each image."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    size = 4 + CLASSES
    constants = {
        "first": np.array([0]), "end": np.array([size * BOXES]), "axis": np.array([1]),
        "shape": np.array([into, size, BOXES]), "batch": np.array([0]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("Slice", ["flat", "first", "end", "axis"], ["some"]),
        helper.make_node("ReduceMean", ["some", "batch"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["some", "mean"], ["less"]),
        helper.make_node("Reshape", ["less" if mixes else "some", "shape"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes if mixes else [*nodes[:2], nodes[-1]],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, size, BOXES])],
        [
            numpy_helper.from_array(value.astype(np.int64), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in (("names", "{0: 'a', 1: 'b', 2: 'c'}"), ("stride", "32"),
                       ("imgsz", "[64, 64]")):  # fmt: skip
        model.metadata_props.add(key=key, value=value)
    path = folder / "best.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("batch", "most"), [("dynamic", None), (4, 4), (1, 1), (None, None)])
def test_the_manifest_says_how_many_images_a_file_takes(
    tmp_path: Path, batch: Any, most: int | None
) -> None:
    _, manifest = onnxfile.adopt(network(tmp_path, "n"), Export(batch=batch))
    assert (manifest.batch, manifest.max_batch) == (-1, most)
    # Of one size: dynamic is about that.
    assert (manifest.dynamic, manifest.imgsz) == (False, (64, 64))
    assert [manifest.batch_of(n) for n in (1, 3, 16)] == [min(n, most or n) for n in (1, 3, 16)]


def test_a_fixed_shape_takes_one_image(tmp_path: Path) -> None:
    _, manifest = onnxfile.adopt(network(tmp_path, 1), Export())
    assert (manifest.batch, manifest.max_batch, manifest.batch_of(16)) == (1, None, 1)


@pytest.mark.parametrize(
    ("made", "batch", "says"),
    [
        ({"batch": 1}, 8, "batch is 8, but the ONNX file computes one image at a time"),
        ({"batch": 1}, "dynamic", "batch is dynamic, but the ONNX file computes one image"),
        ({"batch": 4}, None, "computes exactly 4 images at once, so it cannot answer a single"),
        ({"batch": "n", "mixes": True}, None, "answers an image in a batch of 3 otherwise than"),
        ({"batch": "n", "into": 1}, None, "does not run with ONNX Runtime"),
    ],
    ids=["one", "one, dynamic", "exactly four", "mixed", "written in"],
)
def test_a_file_that_cannot_be_served_in_batches_is_refused(
    tmp_path: Path, made: dict[str, Any], batch: Any, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        onnxfile.adopt(network(tmp_path, **made), Export(batch=batch))
    assert caught.value.reason == "ExportFailed"


def test_a_batch_that_is_never_formed_need_not_work(tmp_path: Path) -> None:
    _, manifest = onnxfile.adopt(network(tmp_path, "n", into=1), Export(batch=1))
    assert manifest.max_batch == 1
