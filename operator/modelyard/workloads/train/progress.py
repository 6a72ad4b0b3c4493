"""Progress and remaining time of a training: TrainingProgress from epochs and batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.api.trainingjob import TrainingProgress
from modelyard.contract.statustext import timestamp

PREPARING = "Preparing"
TRAINING = "Training"
PUBLISHING = "Publishing"

SMOOTHING = 0.3
"""Weight of the latest epoch in the smoothed time of an epoch."""
TRAINING_SHARE = 0.85
"""Share of an epoch's time that goes into batches; the rest is validation. A guess that only
moves the figures within one epoch."""


class Progress:
    """Follows one training. `clock` gives seconds that only grow."""

    def __init__(self, pod_name: str | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pod_name = pod_name
        self._stage = PREPARING
        self._finished = 0
        self._epochs: int | None = None
        self._batches = 0.0
        """Share of the current epoch's batches that are done."""
        self._epoch_seconds: float | None = None
        self._timed = 0
        """Epochs that this pod has done."""
        self._epoch_start = clock()
        self._resumed_from: int | None = None
        self._metrics: dict[str, float] = {}

    def start(self, *, epochs: int, finished: int) -> None:
        """The first epoch begins; `finished` epochs were done by earlier pods."""
        self._stage = TRAINING
        self._epochs = epochs
        self._finished = finished
        self._resumed_from = finished or None
        self._epoch_start = self._clock()

    def batch(self, done: int, of: int) -> None:
        """Some batches of the current epoch are done."""
        self._batches = min(1.0, done / max(of, 1))

    def epoch(self, finished: int, *, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done, validation included."""
        now = self._clock()
        spent, self._epoch_start = now - self._epoch_start, now
        last = self._epoch_seconds
        self._timed += 1
        if last is None or self._timed == 2:
            # A pod's first epoch starts the data loader's processes and warms the GPU up, which
            # can take three times as long as the epochs after it: it tells nothing once another
            # one is done.
            self._epoch_seconds = spent
        else:
            self._epoch_seconds = (1 - SMOOTHING) * last + SMOOTHING * spent
        self._finished, self._epochs, self._batches = finished, epochs, 0.0
        self._metrics = dict(metrics) or self._metrics

    def publish(self, metrics: Mapping[str, float] | None = None) -> None:
        """Training is over, early or not; the result is being stored."""
        self._stage = PUBLISHING
        self._metrics = dict(metrics or {}) or self._metrics

    def status(self) -> dict[str, Any]:
        """`status.progress` as a merge patch: null where there is nothing to say, so that nothing
        of an earlier pod's report stays."""
        progress = TrainingProgress(
            pod_name=self._pod_name,
            stage=self._stage,
            epoch=self._finished if self._epochs else None,
            epochs=self._epochs,
            percent=self._percent(),
            remaining_seconds=self._remaining(),
            resumed_from_epoch=self._resumed_from,
            updated_at=timestamp(datetime.now(UTC)),
            metrics=self._metrics or None,
        )
        return {"progress": progress.model_dump(by_alias=True)}

    def _percent(self) -> int | None:
        if self._epochs is None:
            return None
        if self._stage == PUBLISHING:
            return 100
        done = self._finished + self._batches * TRAINING_SHARE
        return min(99, int(100 * done / self._epochs))

    def _remaining(self) -> int | None:
        if self._epochs is None:
            return None
        if self._stage == PUBLISHING:
            return 0
        spent = self._clock() - self._epoch_start
        per_epoch = self._epoch_seconds
        if per_epoch is None:
            if not self._batches:
                return None
            per_epoch = spent / (self._batches * TRAINING_SHARE)
        left = max(0, self._epochs - self._finished)
        return max(0, math.ceil(per_epoch * left - min(spent, per_epoch)))
