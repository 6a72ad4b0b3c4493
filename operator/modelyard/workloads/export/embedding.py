"""Adds the network's embedding of an image as a second output of an exported ONNX graph.

The embedding is the global average pool of the backbone's last block: what the network has seen,
before it decides what that is. Monitoring compares embeddings to tell whether a server sees other
images than before. They come with the detections, at the cost of one mean.

The block is found in the graph, not in Ultralytics: the neck of YOLO networks begins by enlarging
the backbone's last feature map (the first `/model.N/Resize`), so that is layer N - 1: 10 in YOLO11
and YOLO26, 9 in YOLOv8, 8 in YOLO12. Nodes are named by the tracing exporter after the modules that
they came from. A graph that looks otherwise is left as it is and has no embedding.

Nothing between the input and the detections changes: only a reader of one tensor is added.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.contract.manifest import EMBEDDING, MAX_EMBEDDING

log = logging.getLogger("modelyard.export")

_ENLARGED = re.compile(r"/model\.([0-9]+)/(Resize|Upsample)")
_POOLED, _FLAT = f"{EMBEDDING}_pooled", f"{EMBEDDING}_flat"


def add(model: Any) -> bool:
    """Add the output `embedding`, FP32 [batch, size], to an onnx.ModelProto in place. False, and
    nothing changes, if the graph has no such block, or names of ours already."""
    import onnx

    graph = model.graph
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    used |= {one.name for one in (*graph.input, *graph.output, *graph.initializer)}
    if used & {EMBEDDING, _POOLED, _FLAT} or not graph.output:
        return False
    block = _last_block(graph)
    size = _channels(model, block) if block else None
    if block is None or size is None or not 1 <= size <= MAX_EMBEDDING:
        return False
    make = onnx.helper.make_node
    graph.node.extend(
        [
            make("GlobalAveragePool", [block], [_POOLED], name=f"/{EMBEDDING}/Pool"),
            make("Flatten", [_POOLED], [_FLAT], name=f"/{EMBEDDING}/Flatten", axis=1),
            # Networks in half precision have their detections in it, and means are small numbers.
            make(
                "Cast", [_FLAT], [EMBEDDING], name=f"/{EMBEDDING}/Cast", to=onnx.TensorProto.FLOAT
            ),
        ]
    )
    output = onnx.helper.make_tensor_value_info(EMBEDDING, onnx.TensorProto.FLOAT, [None, size])
    # The batch, fixed or by name, is that of the detections.
    batch = graph.output[0].type.tensor_type.shape.dim[:1]
    if batch:
        output.type.tensor_type.shape.dim[0].CopyFrom(batch[0])
    graph.output.append(output)
    return True


def add_to_file(path: Path) -> bool:
    """`add`, to a file in place."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    added = add(model)
    if added:
        onnx.save(model, str(path))
    return added


@contextmanager
def in_exports() -> Iterator[None]:
    """Ultralytics' exporter adds it to each ONNX file that it makes on the way to another format:
    a TensorRT engine is built from one, in the same call."""
    from ultralytics.engine.exporter import Exporter

    original = Exporter.export_onnx

    def export_onnx(self: Any, *args: Any, **settings: Any) -> Any:
        path = original(self, *args, **settings)
        if not add_to_file(Path(path)):
            log.warning("the network has no embedding: its backbone was not recognised")
        return path

    Exporter.export_onnx = export_onnx
    try:
        yield
    finally:
        Exporter.export_onnx = original


def _last_block(graph: Any) -> str | None:
    """Name of the backbone's last feature map."""
    makers = {name: node.name for node in graph.node for name in node.output}
    for node in graph.node:
        found = _ENLARGED.fullmatch(node.name)
        if found and node.op_type == found.group(2) and node.input:
            source = str(node.input[0])
            before = f"/model.{int(found.group(1)) - 1}/"
            return source if makers.get(source, "").startswith(before) else None
    return None


def _channels(model: Any, name: str) -> int | None:
    """Channels of a feature map [batch, channels, height, width]; None if they are not fixed."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    for value in inferred.graph.value_info:
        kind = value.type.tensor_type
        if value.name == name and len(kind.shape.dim) == 4 and kind.shape.dim[1].dim_value:
            return int(kind.shape.dim[1].dim_value)
    return None
