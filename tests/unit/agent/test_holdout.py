"""A version's holdout as the statistics of drift take it: from evaluation to findings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from modelyard.api.evaluation import Evaluation
from modelyard.api.pipeline import Pipeline
from modelyard.contract.profile import Figure, parse_summary
from modelyard.drift.observation import Observation
from modelyard.drift.profile import Likeness
from modelyard.drift.signals import Signal
from modelyard.signals.embeddings import project
from modelyard.signals.images import image_figures
from modelyard.workloads.agent.holdout import SIGNALS, profile_of
from modelyard.workloads.evaluate import profiling
from modelyard.workloads.evaluate.boxes import DETECTION

from ..contract.test_profile import summary


def test_every_figure_of_a_summary_has_a_signal() -> None:
    assert set(SIGNALS) == set(Figure)
    found = profile_of(summary(), Pipeline())
    assert set(found.ranges) == set(SIGNALS.values())
    assert found.radius == summary().embedding.radius


@pytest.mark.parametrize("pipeline", [Pipeline(confidence=0.4), Pipeline(iou=0.5)])
def test_boxes_of_other_thresholds_are_not_compared(pipeline: Pipeline) -> None:
    found = profile_of(summary(), pipeline)
    left_out = {Signal.DETECTIONS, Signal.BOX_AREA}
    assert set(found.ranges) == set(SIGNALS.values()) - left_out


def test_a_network_without_an_embedding_has_a_profile_of_the_rest() -> None:
    found = profile_of(summary(embedding=None), Pipeline())
    assert (found.centre, found.scale, found.radius) == ((), (), 0)


def picture(rng: np.random.Generator, shift: int) -> np.ndarray:
    image = np.full((60, 80, 3), int(rng.integers(60, 160)) + shift, np.int32)
    x, y = (int(one) for one in rng.integers(0, 40, 2))
    image[y : y + 20, x : x + 30] += int(rng.integers(30, 60))
    return (image + rng.normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)


def observed(image: np.ndarray, embedding: np.ndarray) -> Observation:
    figures = image_figures(image)
    return Observation(
        time=0, source="door", brightness=figures.brightness, contrast=figures.contrast,
        sharpness=figures.sharpness, colourfulness=figures.colourfulness, blank=figures.blank,
        projection=tuple(project(embedding[None])[0]), top_score=0.0, detections=0,
    )  # fmt: skip


def test_a_site_like_the_holdout_is_told_from_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    files, embeddings = [], rng.normal(1, 0.5, (300, 64)).astype(np.float32)
    for number in range(300):
        files.append(tmp_path / f"{number:03}.png")
        cv2.imwrite(str(files[-1]), picture(rng, 0))
    columns = profiling.measure(
        np.zeros(0, DETECTION),
        profiling.Answers(rng.normal(0, 1, 300), embeddings),
        files, classes=2, workers=1,
    )  # fmt: skip
    digest = "sha256:" + "0" * 64
    made = profiling.summarise(
        columns, packed=columns.pack(), artifact=digest, dataset=digest, evaluation=Evaluation()
    )
    profile = profile_of(parse_summary(made.dump()), Pipeline())

    def worst(shift: int, moved: float) -> tuple[Signal, float]:
        seen = Likeness()
        for _ in range(300):
            embedding = rng.normal(1 + moved, 0.5, 64)
            seen = seen.with_image(observed(picture(rng, shift), embedding), profile)
        found = seen.worst()
        assert found is not None
        return found

    assert worst(0, 0)[1] < 0.15
    assert worst(80, 0)[0] == Signal.BRIGHTNESS
    assert worst(80, 0)[1] > 0.5
    assert worst(0, 2)[0] == Signal.EMBEDDING
    assert worst(0, 2)[1] > 0.9
