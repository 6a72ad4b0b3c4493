"""How two versions' answers are counted against each other."""

from __future__ import annotations

import numpy as np

from modelyard.api.modelserver import Assignment
from modelyard.serving.spool import Sample
from modelyard.serving.triton import Prediction
from modelyard.workloads.agent.comparison import ClassMap, Comparison

DIGEST = f"sha256:{'a' * 64}"
VERSION = Assignment(
    model_version="m-2",
    version=2,
    artifact="onnx",
    format="onnx",
    digest=DIGEST,
    manifest_digest=DIGEST,
)
SAME = ClassMap(("cat", "dog"), ("cat", "dog"))


def sample(boxes: list[list[float]], classes: list[int]) -> Sample:
    return Sample(
        image=b"",
        version=1,
        milliseconds=1.0,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        classes=np.array(classes, np.int32),
    )


def answer(boxes: list[list[float]], classes: list[int]) -> Prediction:
    outputs = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.array(classes, np.int32),
    }
    return Prediction("m-2-abc", "1", outputs)


CAT, DOG = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 40.0]


def test_equal_answers_match_box_for_box_and_others_do_not():
    one = Comparison(VERSION)
    one.answered(sample([CAT, DOG], [0, 1]), answer([DOG, CAT], [1, 0]), 12, SAME)
    one.answered(sample([CAT, DOG], [0, 1]), answer([CAT, DOG], [0, 0]), 12, SAME)
    one.answered(sample([], []), answer([CAT], [0]), 99999, SAME)
    one.failed()

    found = one.report(dropped=4)

    assert (found.images, found.failures, found.dropped) == (3, 1, 4)
    assert (found.stable_boxes, found.shadow_boxes, found.matched) == (4, 5, 3)
    assert (found.latency[6], found.latency[-1], sum(found.latency)) == (2, 1, 3)


def test_classes_are_told_by_their_names():
    turned = ClassMap(("dog", "cat", "bird"), ("cat", "dog"))
    assert turned.to_serving(np.array([0, 1, 2, 7, -1])).tolist() == [1, 0, -1, -1, -1]
    one = Comparison(VERSION)
    one.answered(sample([CAT, DOG], [0, 1]), answer([CAT, DOG], [1, 0]), 1, turned)
    assert one.report(0).matched == 2


def test_agent_that_restarts_goes_on_counting():
    one = Comparison(VERSION)
    one.answered(sample([CAT], [0]), answer([CAT], [0]), 5, SAME)
    again = Comparison(VERSION, one.report(dropped=2))
    again.answered(sample([CAT], [0]), answer([], []), 5, SAME)
    found = again.report(dropped=1)
    assert (found.images, found.matched, found.dropped, sum(found.latency)) == (2, 1, 3, 2)


def test_figures_that_were_reported_do_not_change_any_more():
    one = Comparison(VERSION)
    one.answered(sample([CAT], [0]), answer([CAT], [0]), 5, SAME)
    before = one.report(0)
    one.answered(sample([CAT], [0]), answer([CAT], [0]), 5, SAME)
    assert (before.images, sum(before.latency)) == (1, 1)
