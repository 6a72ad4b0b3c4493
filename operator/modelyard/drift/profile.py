"""The holdout's summary, and whether a site looks like the holdout at all.

Evaluation makes it from per-image figures (`summarise`); agents get it as JSON of at most 40 kB.
For each signal it keeps the range that holds the central 98 % of the holdout's images. A site whose
images lie outside for more than half is not like the holdout: one camera is always less diverse
than a holdout, so means may differ, but most of its images should be possible there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.drift.observation import Observation
from modelyard.drift.signals import Signal


@dataclass(frozen=True)
class Profile:
    """Summary of a version's holdout; about 5 kB as JSON."""

    images: int
    ranges: Mapping[Signal, tuple[float, float]]
    """1 % and 99 % quantile of an image's figure, by signal (without ClassMix and Embedding)."""
    classes: tuple[float, ...] = ()
    """Share of ten classes and other among the holdout's boxes (its returned boxes, not labels)."""
    centre: tuple[float, ...] = ()
    """Mean of the 32 projections."""
    scale: tuple[float, ...] = ()
    """Standard deviation of each projection."""
    radius: float = 0.0
    """99 % quantile of the images' distance from the centre, in units of `scale`, squared."""


def summarise(images: Sequence[Observation]) -> Profile:
    """The profile of a holdout's images. Raises ValueError for none."""
    raise NotImplementedError


def to_json(profile: Profile) -> dict[str, Any]:
    """As plain lists, texts and numbers."""
    raise NotImplementedError


def from_json(found: Mapping[str, Any]) -> Profile:
    """The profile that `to_json` has written. Raises ValueError."""
    raise NotImplementedError
