"""What is kept of a network's answers while Ultralytics evaluates it. Tensors are played: arrays
with the few methods that are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.contract.manifest import ArtifactManifest
from modelyard.signals.detections import logit
from modelyard.workloads.evaluate.boxes import DETECTION
from modelyard.workloads.evaluate.predicting import Record

INDEXES = {"a.png": 0, "b.png": 1, "deep/c.png": 2}


class Tensor:
    """As far as torch's is used."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float32)
        self.ndim, self.shape = self.values.ndim, self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def float(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self.values


def manifest(*, embedding: bool = True) -> ArtifactManifest:
    outputs = [{"name": "output0", "dtype": "FP32", "shape": [1, 6, 84]}]
    if embedding:
        outputs.append({"name": "embedding", "dtype": "FP32", "shape": [1, 3]})
    return ArtifactManifest.model_validate(
        {
            "format": "onnx",
            "file": {"name": "best.onnx", "digest": "sha256:" + "0" * 64, "sizeBytes": 5},
            "classes": ["cat", "dog"],
            "imgsz": [64, 64],
            "input": {"name": "images", "dtype": "FP32", "shape": [1, 3, 64, 64]},
            "outputs": outputs,
            **({"embedding": {"output": "embedding", "size": 3}} if embedding else {}),
        }
    )


def raw(score: float) -> Tensor:
    answer = np.full((1, 6, 84), 0.01)
    answer[0, 5, 3] = score
    return Tensor(answer)


def boxes(count: int = 1) -> np.ndarray:
    return np.zeros(count, DETECTION)


@pytest.mark.parametrize("first", [0, 1])
def test_answers_come_in_the_order_of_the_images_whatever_the_order_of_outputs(first: int) -> None:
    record = Record(manifest(), INDEXES)
    for name, score in (("deep/c.png", 0.3), ("a.png", 0.9), ("b.png", 0.6)):
        outputs = [raw(score), Tensor([[score, 1, 2]])]
        given = outputs if first == 0 else outputs[::-1]
        assert record.raw(given) is outputs[0]
        record.add(name, 0, boxes(2))
    answers = record.answers()
    assert answers.top_scores == pytest.approx([logit(s) for s in (0.9, 0.6, 0.3)], abs=1e-5)
    assert answers.embeddings[:, 0] == pytest.approx([0.9, 0.6, 0.3])
    assert [one["image"].tolist() for one in record.boxes] == [[2, 2], [0, 0], [1, 1]]


def test_a_network_without_an_embedding_has_top_scores() -> None:
    record = Record(manifest(embedding=False), INDEXES)
    answer = raw(0.5)
    assert record.raw(answer) is answer
    record.add("a.png", 0, boxes(0))
    assert record.answers().top_scores == pytest.approx([0])
    assert record.answers().embeddings is None


def test_of_the_weights_themselves_only_boxes_are_kept() -> None:
    record = Record(None, INDEXES)
    answer = (raw(0.5), {"anything": 1})
    assert record.raw(answer) is answer
    record.add("a.png", 0, boxes())
    assert record.answers() is None
    assert len(record.boxes) == 1
