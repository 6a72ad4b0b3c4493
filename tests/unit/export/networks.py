"""Tiny ONNX detectors with the node names of Ultralytics' exports: backbone, neck and head."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CHANNELS, ROWS = 64, 12, 6
BOXES = 64 + 16 + 4


def detector(
    *, batch: int | str = 1, half: bool = False, last: int = 10, upsampled: str = "Resize"
) -> onnx.ModelProto:
    """A network of two classes whose answer depends on every pixel; layer `last` is the backbone's
    last block, and is read twice after it, as in YOLO11."""
    rng = np.random.default_rng(3)
    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(dtype), name)

    block = f"/model.{last}/cv2/act/Mul_output_0"
    make = helper.make_node
    nodes = [
        make("Conv", ["images", "w0"], ["a"], name="/model.0/conv/Conv", strides=[8, 8]),
        make("Conv", ["a", "w1"], ["b"], name=f"/model.{last}/cv2/conv/Conv", strides=[4, 4]),
        make("Sigmoid", ["b"], ["c"], name=f"/model.{last}/cv2/act/Sigmoid"),
        make("Mul", ["b", "c"], [block], name=f"/model.{last}/cv2/act/Mul"),
        make("Resize", [block, "", "scales"], ["up"], name=f"/model.{last + 1}/{upsampled}"),
        make("Concat", ["up", "half"], ["joined"], name="/model.12/Concat", axis=1),
        make("Conv", ["a", "w2"], ["p3"], name="/model.23/cv2.0/Conv"),
        make("Conv", ["joined", "w3"], ["p4"], name="/model.23/cv2.1/Conv"),
        make("Conv", [block, "w4"], ["p5"], name="/model.23/cv2.2/Conv"),
        make("MaxPool", ["a"], ["half"], name="/model.5/MaxPool", kernel_shape=[2, 2],
             strides=[2, 2]),
        *(make("Reshape", [f"p{i}", "rows"], [f"r{i}"], name=f"/model.23/Reshape_{i}")
          for i in (3, 4, 5)),
        make("Concat", ["r3", "r4", "r5"], ["flat"], name="/model.23/Concat", axis=2),
        make("Sigmoid", ["flat"], ["output0"], name="/model.23/Sigmoid"),
    ]  # fmt: skip
    nodes.insert(5, nodes.pop(9))  # in the order of their inputs
    weights = [
        weight("w0", 8, 3, 8, 8), weight("w1", CHANNELS, 8, 4, 4), weight("w2", ROWS, 8, 1, 1),
        weight("w3", ROWS, CHANNELS + 8, 1, 1), weight("w4", ROWS, CHANNELS, 1, 1),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
        numpy_helper.from_array(np.array([0, ROWS, -1], np.int64), "rows"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("images", kind, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", kind, [batch, ROWS, BOXES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    known = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "imgsz": f"[{SIZE}, {SIZE}]"}
    for key, value in known.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return model
