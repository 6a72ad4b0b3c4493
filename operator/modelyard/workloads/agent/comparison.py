"""Counts how a shadowed version's answers compare with those of the version that serves."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.api.modelserver import LATENCY_BOUNDS_MS, Assignment, ShadowFigures
from modelyard.serving.agreement import matched
from modelyard.serving.spool import Sample
from modelyard.serving.triton import Prediction


class Comparison:
    """Figures of one shadowed version, from the beginning of its shadowing."""

    def __init__(self, assignment: Assignment, before: ShadowFigures | None = None) -> None:
        """`before` is what an earlier agent counted of the same version."""
        self._dropped = before.dropped if before else 0
        buckets = len(LATENCY_BOUNDS_MS) + 1
        counted = list(before.latency) if before and len(before.latency) == buckets else []
        self._figures = ShadowFigures(
            model_version=assignment.model_version,
            version=assignment.version,
            digest=assignment.digest,
            manifest_digest=assignment.manifest_digest,
            images=before.images if before else 0,
            failures=before.failures if before else 0,
            stable_boxes=before.stable_boxes if before else 0,
            shadow_boxes=before.shadow_boxes if before else 0,
            matched=before.matched if before else 0,
            latency=counted or [0] * buckets,
        )

    def answered(
        self, sample: Sample, answer: Prediction, milliseconds: float, classes: ClassMap
    ) -> None:
        """Both versions answered an image."""
        boxes, found = answer.outputs["boxes"], answer.outputs["classes"]
        one = self._figures
        one.images += 1
        one.stable_boxes += len(sample.boxes)
        one.shadow_boxes += len(boxes)
        one.matched += matched(
            sample.boxes, sample.scores, sample.classes, boxes, classes.to_serving(found)
        )
        one.latency[bisect.bisect_left(LATENCY_BOUNDS_MS, milliseconds)] += 1

    def failed(self) -> None:
        """The shadowed version failed on an image that the other one answered."""
        self._figures.failures += 1

    def report(self, dropped: int) -> ShadowFigures:
        """The figures now; `dropped` copies were lost since this object was made."""
        return self._figures.model_copy(
            update={
                "dropped": self._dropped + dropped,
                "latency": list(self._figures.latency) if self._figures.images else [],
            }
        )


class ClassMap:
    """Class ids of one version in terms of another's, by the classes' names."""

    def __init__(self, shadowed: Sequence[str], serving: Sequence[str]) -> None:
        known = {name: number for number, name in enumerate(serving)}
        self._ids = np.array([known.get(name, -1) for name in shadowed], np.int64)

    def to_serving(self, classes: Any) -> np.ndarray:
        """The ids that the serving version gives the same classes; -1 for those it has not."""
        ids = np.asarray(classes, np.int64)
        inside = (ids >= 0) & (ids < len(self._ids))
        return np.where(inside, self._ids[np.where(inside, ids, 0)] if len(self._ids) else -1, -1)
