"""The network in the process of its pipeline, without Triton: sessions, bound memory, and who is
busy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.serving.models.letterbox import Canvas
from modelyard.serving.models.network import Busy, Lane, Network, NetworkError, Threads

SHAPE = (1, 3, 8, 8)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A network that doubles its input."""
    tensors = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("images", "out")
    )
    given, made = tensors
    node = helper.make_node("Mul", ["images", "two"], ["out"])
    two = numpy_helper.from_array(np.float32(2), "two")
    graph = helper.make_graph([node], "doubles", [given], [made], [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


def lane(outputs: bool = True) -> Lane:
    return Lane(Canvas(8, 8, np.float32), [np.empty(SHAPE, np.float32)] if outputs else [])


@pytest.mark.parametrize("known", [True, False], ids=["bound", "of unknown shape"])
def test_what_is_drawn_is_computed_each_time_anew(file: str, known: bool) -> None:
    network = Network(file, Threads(wide=2, narrow=1), "images", ["out"])
    network.open_second(np.zeros(SHAPE, np.float32))
    network.close()
    own = lane(known)

    for grey in (10, 200, 10):
        own.canvas.draw(np.full((8, 8, 3), grey, np.uint8))
        for alone in (True, False):
            (found,) = network.compute(own, alone=alone)
            assert found == pytest.approx(np.full(SHAPE, 2 * grey / 255), abs=1e-6)
    (found,) = network.run(own.canvas.tensor, alone=False)
    assert found == pytest.approx(np.full(SHAPE, 20 / 255), abs=1e-6)


def test_what_is_wrong_with_a_file_is_said(file: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"this is no model" * 9)
    with pytest.raises(NetworkError, match=r"ONNX Runtime [\d.]+ cannot open damaged.onnx: "):
        Network(str(damaged), Threads(1), "images", ["out"])
    with pytest.raises(NetworkError, match="no output boxes; it has out"):
        Network(file, Threads(1), "images", ["boxes"])

    network = Network(file, Threads(1), "images", ["out"])
    with pytest.raises(NetworkError, match="ONNX Runtime: "):
        network.run(np.zeros((1, 3, 4, 4), np.float32), alone=True)


def test_processes_know_who_else_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, two = (Busy("digits-1-00000000", number, 2) for number in range(2))

    with one:
        assert not one.others()
        assert two.others()
        # Killed meanwhile and started anew.
        Busy("digits-1-00000000", 0, 2)
        assert not two.others()
    with two:
        assert one.others()
    assert not one.others()
    one.close()
    two.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_the_file_each_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    one, two = (Busy("digits-1-00000000", number, 2) for number in range(2))
    with one:
        assert not two.others()
    one.close()
