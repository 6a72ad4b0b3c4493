"""What the monitor reports: findings that hold for a while, and events of a moment.

A finding is one of a source (or of the server, with an empty source). It says when it began, how
large it is, and what to do. Only DRIFTING is drift; the others say that something else is the
matter, and never count as drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.drift.signals import Signal


class Kind(StrEnum):
    """Kinds of findings; the API's condition reasons have the same names."""

    DRIFTING = "Drifting"
    """A chart has left its threshold within the last `hold`."""
    NOT_LIKE_HOLDOUT = "NotLikeHoldout"
    """Most images of the source lie outside of nearly all of the holdout's."""
    SITE_CHANGED = "SiteChanged"
    """A later baseline differs from the anchor."""
    CAMERA_DARK = "CameraDark"
    """Over half of the images of the last hour are blank, at an hour that usually has images."""
    CAMERA_MOVED = "CameraMoved"
    """The layout of the scene is another one. A person decides; training does not help."""
    TOO_FEW_REQUESTS = "TooFewRequests"
    """No block could be closed for a day."""
    BASELINE_SUSPICIOUS = "BaselineSuspicious"
    """The baseline changed while it was taken, or differs from the pool's."""
    UNCALIBRATED = "Uncalibrated"
    """No baseline yet, or none that covers days and weeks."""
    CLOCK_UNSYNCHRONISED = "ClockUnsynchronised"
    """Charts are held until the clock is synchronised."""
    TOO_MANY_SOURCES = "TooManySources"
    """Further sources than `max` are not charted."""


@dataclass(frozen=True)
class Reason:
    """An explaining signal beside an alarm."""

    signal: Signal
    size: float
    """Mean over the blocks since the change began, in baseline sd of a block."""


@dataclass(frozen=True)
class Finding:
    """Something that holds now."""

    kind: Kind
    source: str = ""
    since: float = 0.0
    """When it began: for drift the estimated time of the change, s since 1970."""
    first: float = 0.0
    """When it was first reported (the episode's first alarm)."""
    last: float = 0.0
    """Last alarm; drift ends `hold` after it."""
    signal: Signal | None = None
    """What drifts or is suspicious."""
    size: float = 0.0
    """Drift: mean since the change, in baseline sd of a block (or day), signed. CameraDark and
    NotLikeHoldout: share of images. CameraMoved: correlation with the baseline's layout."""
    artifact: str = ""
    """Digest of the artifact that answered at the first alarm: part of an episode's identity."""
    reasons: tuple[Reason, ...] = ()
    """Explaining signals that moved by at least one sd, largest first."""
    detail: str = ""
    """For people: one clause without source, such as `131 of 400 blocks, 4 of 14 days`."""

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What makes two findings the same one."""
        return self.kind, self.source, self.signal or ""


class Change(StrEnum):
    """What happened in a step."""

    RAISED = "Raised"
    CLEARED = "Cleared"
    ALARM = "Alarm"
    """A chart left its threshold, anew or again; `finding` is the episode so far."""
    BLOCK = "Block"
    BASELINE = "Baseline"
    """A baseline was accepted; `detail` of the finding says by whom."""


@dataclass(frozen=True)
class Event:
    """One thing that happened in a step."""

    change: Change
    time: float
    source: str = ""
    finding: Finding | None = None
