"""What `status.progress` tells while a training runs."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.workloads.metrics import metrics_of
from modelyard.workloads.train.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(progress: Progress) -> dict[str, Any]:
    status: dict[str, Any] = progress.status()["progress"]
    return status


def test_before_the_first_epoch_nothing_is_guessed(clock: Clock) -> None:
    status = told(Progress("pod-1", clock))
    assert status["stage"] == "Preparing"
    assert status["podName"] == "pod-1"
    assert status["percent"] is status["remainingSeconds"] is status["epoch"] is None
    assert status["updatedAt"].endswith("Z")


def test_epochs_of_equal_length_give_an_exact_estimate(clock: Clock) -> None:
    progress = Progress("pod-1", clock)
    progress.start(epochs=10, finished=0)
    for epoch in range(1, 5):
        clock.now += 20
        progress.epoch(epoch, epochs=10, metrics={"mAP50": epoch / 10})
    status = told(progress)
    assert (status["epoch"], status["epochs"], status["percent"]) == (4, 10, 40)
    assert status["remainingSeconds"] == 120
    assert status["metrics"] == {"mAP50": 0.4}
    clock.now += 5
    assert told(progress)["remainingSeconds"] == 115


def test_one_slow_epoch_moves_the_estimate_only_partly(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=10, finished=0)
    for epoch, seconds in ((1, 20), (2, 20), (3, 60)):
        clock.now += seconds
        progress.epoch(epoch, epochs=10, metrics={})
    assert 7 * 20 < told(progress)["remainingSeconds"] < 7 * 60


def test_the_first_epoch_of_a_pod_is_forgotten_when_another_one_is_done(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=12, finished=1)
    clock.now += 12
    progress.epoch(2, epochs=12, metrics={})
    assert told(progress)["remainingSeconds"] == 120
    clock.now += 4
    progress.epoch(3, epochs=12, metrics={})
    assert told(progress)["remainingSeconds"] == 36


def test_within_the_first_epoch_batches_give_percent_and_estimate(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=2, finished=0)
    clock.now += 17
    progress.batch(50, 100)
    status = told(progress)
    assert status["percent"] == 21
    assert status["remainingSeconds"] == 80 - 17


def test_a_resumed_training_says_so_and_counts_the_epochs_before(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=10, finished=6)
    status = told(progress)
    assert (status["epoch"], status["percent"], status["resumedFromEpoch"]) == (6, 60, 6)


def test_a_fresh_pod_clears_what_an_earlier_one_reported(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=10, finished=0)
    status = told(progress)
    assert "resumedFromEpoch" in status
    assert status["resumedFromEpoch"] is None


def test_an_early_stop_ends_at_100_percent(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=100, finished=0)
    clock.now += 1
    progress.epoch(30, epochs=100, metrics={"mAP50": 0.1})
    assert told(progress)["percent"] == 30
    progress.publish({"mAP50": 0.5})
    status = told(progress)
    assert (status["stage"], status["percent"], status["remainingSeconds"]) == (
        "Publishing", 100, 0,
    )  # fmt: skip
    assert status["metrics"] == {"mAP50": 0.5}


def test_100_percent_is_not_claimed_before_the_end(clock: Clock) -> None:
    progress = Progress(None, clock)
    progress.start(epochs=1, finished=0)
    clock.now += 1
    progress.epoch(1, epochs=1, metrics={})
    assert told(progress)["percent"] == 99


def test_figures_that_are_not_numbers_are_left_out() -> None:
    assert metrics_of(
        {"metrics/mAP50(B)": 0.123456789, "metrics/recall(B)": float("nan"), "fitness": 1}
    ) == {"mAP50": 0.12346}
