"""The condition Capturing: whether images are kept for labelling, and if not, what to do.

What each server may keep, and who is asked for images now: monitoring.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.monitoring import Capture, per_day
from modelyard.api.monitoringstatus import MonitoringStatus
from modelyard.core.conditions import Cond
from modelyard.core.deployment import reasons
from modelyard.core.deployment.observed import Observed
from modelyard.core.plan import Event

_FAILURES = (
    reasons.UNKNOWN_CLASS,
    reasons.NO_INTAKE,
    reasons.NOT_REDACTED,
    reasons.SPOOL_FULL,
    reasons.STORE_REFUSED,
)
"""Reasons that agents put before a colon in status.capture.failure."""


@dataclass(frozen=True)
class Kept:
    """What capture adds to a decision."""

    conditions: Sequence[Cond] = ()
    events: tuple[Event, ...] = ()


def capturing(observed: Observed, wanted: MonitoringStatus) -> Kept:
    """Whether images are kept; nothing without spec.monitoring.capture."""
    spec = observed.spec.monitoring
    if spec is None or spec.capture is None:
        return Kept()
    value, reason, text = _state(observed, spec.capture, wanted)
    request, before = wanted.requested, observed.recorded.monitoring
    problem = request.problem if request is not None else None
    new = problem and (before is None or before.requested != request)
    return Kept(
        conditions=[Cond(reasons.CAPTURING, value, reason, text)],
        events=(Event("Warning", "CaptureRequestInvalid", problem),) if problem and new else (),
    )


def _state(
    observed: Observed, capture: Capture, wanted: MonitoringStatus
) -> tuple[bool | None, str, str]:
    """Status, reason and message."""
    tally, share = observed.fleet.drift.all, wanted.share
    asked = [per_day(one) for one in (capture.random, capture.uncertain, capture.drifting)]
    if not any(asked) or not per_day(capture.fleet.images):
        text = (
            "the spec asks for no images: set random, uncertain or drifting, and fleet.images, of "
            "spec.monitoring.capture above 0, or remove it"
        )
        return False, reasons.NOTHING_TO_CAPTURE, text
    if share is not None and asked[0] and not share.random:
        text = (
            f"{capture.fleet.images} divided among {share.servers} servers leaves none for each: "
            f"raise spec.monitoring.capture.fleet.images to {share.servers}/day or more"
        )
        return False, reasons.BUDGET_TOO_SMALL, text
    failing = sum(tally.failures.values())
    problem = f"{failing} of {tally.online} servers cannot keep images: " if failing else ""
    problem += tally.most(tally.failures)
    if 2 * failing > tally.captures:
        word = tally.most(tally.failures).partition(":")[0]
        return False, word if word in _FAILURES else reasons.CAPTURE_FAILED, problem
    if not tally.captures:
        return None, reasons.NO_EVIDENCE, "no server reports of captured images yet"
    text = f"{tally.captures - failing} of {tally.online} servers keep images"
    if share is not None:
        text += (
            f": up to {share.random} at random, {share.uncertain} uncertain ones and, while they "
            f"drift, {share.drifting} a day each"
        )
    return True, reasons.IMAGES_KEPT, f"{text}; {problem}" if problem else text
