"""The embedding is added to a graph, and changes no detection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelyard.api.export import Export
from modelyard.contract.manifest import Embedding
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import embedding, onnxfile

from .networks import BOXES, CHANNELS, ROWS, SIZE, detector


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def images(count: int = 1, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(1).random((count, 3, SIZE, SIZE)).astype(dtype)


@pytest.mark.parametrize("last", [8, 9, 10])
@pytest.mark.parametrize(("batch", "count"), [(1, 1), ("batch", 3)])
def test_detections_are_the_same_to_the_bit_and_the_embedding_is_the_blocks_mean(
    last: int, batch: int | str, count: int
) -> None:
    plain, added = detector(batch=batch, last=last), detector(batch=batch, last=last)
    assert embedding.add(added)
    onnx.checker.check_model(added, full_check=True)
    before = session(plain).run(["output0"], {"images": images(count)})[0]
    after, found = session(added).run(["output0", "embedding"], {"images": images(count)})
    assert before.std() > 0.01
    assert np.array_equal(before, after)
    # The block itself, by making it an output of the plain network.
    block = f"/model.{last}/cv2/act/Mul_output_0"
    plain.graph.output.append(helper.make_tensor_value_info(block, TensorProto.FLOAT, None))
    values = session(plain).run([block], {"images": images(count)})[0]
    assert found.shape == (count, CHANNELS)
    assert found == pytest.approx(values.mean(axis=(2, 3)), abs=1e-5)
    assert np.abs(found).min() > 0


def test_a_network_in_half_precision_has_an_embedding_in_single() -> None:
    model = detector(half=True)
    assert embedding.add(model)
    onnx.checker.check_model(model, full_check=True)
    found = session(model).run(["embedding"], {"images": images(dtype=np.float16)})[0]
    assert (found.dtype, found.shape) == (np.float32, (1, CHANNELS))


def other_scale(model: onnx.ModelProto) -> None:
    """The first enlarged map does not come from the layer before."""
    for node in model.graph.node:
        node.name = node.name.replace("/model.10/", "/model.7/")


def no_names(model: onnx.ModelProto) -> None:
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"


def taken(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["embedding" if one == "joined" else one for one in node.output]
        node.input[:] = ["embedding" if one == "joined" else one for one in node.input]


def already(model: onnx.ModelProto) -> None:
    assert embedding.add(model)


@pytest.mark.parametrize("change", [other_scale, no_names, taken, already])
def test_a_graph_that_is_not_recognised_is_left_as_it_is(change: Any) -> None:
    model = detector()
    change(model)
    before = model.SerializeToString()
    assert not embedding.add(model)
    assert model.SerializeToString() == before


def finished(tmp_path: Path, model: onnx.ModelProto) -> Any:
    path = tmp_path / "weights.onnx"
    onnx.save(model, str(path))
    return onnxfile.finish(path, Export())


def test_the_manifest_of_an_export_names_the_embedding(tmp_path: Path) -> None:
    manifest = finished(tmp_path, detector())
    assert manifest.embedding == Embedding(output="embedding", size=CHANNELS)
    assert [one.name for one in manifest.outputs] == ["output0", "embedding"]
    assert [one.name for one in manifest.public_outputs] == ["output0"]
    assert manifest.outputs[0].shape == (1, ROWS, BOXES)
    assert manifest.outputs[1].shape == (1, CHANNELS)
    (tmp_path / "again").mkdir()
    again = finished(tmp_path / "again", detector())
    assert again.file.digest == manifest.file.digest


def test_an_export_without_a_known_backbone_is_published_without_one(tmp_path: Path) -> None:
    model = detector()
    no_names(model)
    manifest = finished(tmp_path, model)
    assert manifest.embedding is None
    assert b"embedding" not in manifest.dump()


def test_an_adopted_file_keeps_its_bytes_and_the_embedding_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    onnx.save(detector(), str(path))
    content = path.read_bytes()
    _, without = onnxfile.adopt(path, Export())
    assert without.embedding is None
    assert path.read_bytes() == content
    assert embedding.add_to_file(path)
    _, with_it = onnxfile.adopt(path, Export())
    assert with_it.embedding == Embedding(output="embedding", size=CHANNELS)


def test_an_output_that_only_bears_the_name_is_not_taken_for_an_embedding(tmp_path: Path) -> None:
    model = detector()
    model.graph.node.append(helper.make_node("Identity", ["p5"], ["embedding"], name="x"))
    shape = [1, ROWS, 2, 2]
    model.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape))
    manifest = finished(tmp_path, model)
    assert manifest.embedding is None
    assert len(manifest.outputs) == 2


def test_a_file_whose_embedding_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    model = detector(batch="batch")
    # Declared with a size that is only known to be wrong once it runs.
    model.graph.node.append(helper.make_node("NonZero", ["output0"], ["where"], name="n"))
    model.graph.node.append(helper.make_node("Cast", ["where"], ["embedding"], name="c", to=1))
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [3, 7])
    model.graph.output.append(output)
    path = tmp_path / "weights.onnx"
    onnx.save(model, str(path))
    with pytest.raises(UserError, match="embedding") as refused:
        onnxfile.adopt(path, Export())
    assert refused.value.reason == "ModelUnsupported"
