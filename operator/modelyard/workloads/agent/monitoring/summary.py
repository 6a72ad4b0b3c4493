"""Findings become ModelServer.status.drift: at most 1 kB, the same as long as nothing happens.

A fleet of thousands writes these, so a figure that moves with every block must not make a write:
what a finding says is frozen when it is first reported, until it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.api.monitoring import DriftState, DriftStatus, FindingKind
from modelyard.contract.statustext import printable, timestamp
from modelyard.drift import findings as statistics

MAX_BYTES = 1024
"""Of the status as JSON in UTF-8."""
MAX_FINDINGS = 6
_MAX_SOURCE, _MAX_BECAUSE = 64, 3
ORDER = (
    FindingKind.DRIFT,
    FindingKind.NOT_LIKE_HOLDOUT,
    FindingKind.CAMERA_DARK,
    FindingKind.CAMERA_MOVED,
    FindingKind.SITE_CHANGED,
    FindingKind.BASELINE_SUSPICIOUS,
    FindingKind.CLOCK_UNSYNCHRONISED,
    FindingKind.STATE_LOST,
    FindingKind.NO_SOURCE,
    FindingKind.TOO_MANY_SOURCES,
    FindingKind.TOO_FEW_REQUESTS,
    FindingKind.EMBEDDING_UNAVAILABLE,
    FindingKind.UNCALIBRATED,
    FindingKind.NO_PERSISTENCE,
)
"""The most severe first."""
_KINDS = {
    **{kind: FindingKind(kind.value) for kind in statistics.Kind if kind.value in set(FindingKind)},
    statistics.Kind.DRIFTING: FindingKind.DRIFT,
}


@dataclass(frozen=True)
class Found:
    """One finding, of the statistics or of the agent's own."""

    kind: FindingKind
    since: float
    """When it was first reported, seconds since 1970."""
    source: str = ""
    signal: str = ""
    size: float | None = None
    because: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What makes two findings the same one: a later episode is another."""
        return f"{self.kind}|{self.source}|{self.signal}|{int(self.since)}"


@dataclass(frozen=True)
class Facts:
    """What the status says beside findings."""

    artifact: str = ""
    """Digest of the artifact that answers."""
    sources: int = 0
    calibrated: int = 0
    """Sources whose baseline is complete."""
    accepted: str | None = None
    reset: str | None = None
    synchronised: bool = True


def found(finding: statistics.Finding) -> Found | None:
    """A finding of the statistics; None for one that the API does not know."""
    kind = _KINDS.get(finding.kind)
    if kind is None:
        return None
    drift = kind in (FindingKind.DRIFT, FindingKind.NOT_LIKE_HOLDOUT)
    return Found(
        kind=kind,
        since=finding.first or finding.since,
        source=finding.source,
        signal=str(finding.signal or ""),
        size=round(finding.size, 1) if drift else None,
        because=tuple(f"{one.signal} {one.size:+.1f}" for one in finding.reasons[:_MAX_BECAUSE]),
    )


def summarise(all_found: Iterable[Found], facts: Facts, reported: dict[str, Any]) -> DriftStatus:
    """The status. `reported` remembers what was said of each finding that goes on, and is changed
    here."""
    current = sorted(all_found, key=lambda one: (ORDER.index(one.kind), one.since, one.source))
    for key in set(reported) - {one.key for one in current}:
        del reported[key]
    entries = [reported.setdefault(one.key, _entry(one)) for one in current]
    drifting = [one.since for one in current if one.kind is FindingKind.DRIFT]
    status = {
        "state": _state(facts, drifting=bool(drifting)),
        "sources": facts.sources,
        "calibrated": facts.calibrated,
        "artifactDigest": facts.artifact[:71] or None,
        "accepted": facts.accepted,
        "reset": facts.reset,
        "alarmSince": _time(min(drifting)) if drifting else None,
    }
    status = {key: value for key, value in status.items() if value is not None}
    return DriftStatus.model_validate(_fit(status, entries))


def is_urgent(before: DriftStatus | None, after: DriftStatus | None) -> bool:
    """Whether somebody waits for the difference: drift begins or ends, or a request of a person was
    acted on. The rest goes along with the next report."""
    return _awaited(before) != _awaited(after)


def size_of(status: DriftStatus) -> int:
    """Bytes of the status in the API server."""
    return _size(status.model_dump(by_alias=True, exclude_none=True, mode="json"))


def _awaited(status: DriftStatus | None) -> tuple[object, ...]:
    if status is None:
        return (False, None, None, ())
    drifts = tuple(
        (one.source, one.signal, one.since)
        for one in status.findings or ()
        if one.kind == FindingKind.DRIFT
    )
    return (status.state == DriftState.DRIFTING, status.accepted, status.reset, drifts)


def _state(facts: Facts, *, drifting: bool) -> str:
    if drifting:
        return DriftState.DRIFTING.value
    if not facts.synchronised or not facts.sources:
        return DriftState.UNKNOWN.value
    return (DriftState.STABLE if facts.calibrated else DriftState.CALIBRATING).value


def _entry(one: Found) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": one.kind.value, "since": _time(one.since)}
    if one.source:
        entry["source"] = printable(one.source)[:_MAX_SOURCE]
    if one.signal:
        entry["signal"] = one.signal[:32]
    if one.size is not None:
        entry["size"] = one.size
    if one.because:
        entry["because"] = [text[:48] for text in one.because]
    return entry


def _fit(status: dict[str, Any], entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As many findings as there is room for, the first at any rate; each as a whole if possible."""
    chosen: list[dict[str, Any]] = []
    for number, entry in enumerate(entries[:MAX_FINDINGS]):
        left = len(entries) - number - 1
        for form in (entry, {key: one for key, one in entry.items() if key != "because"}):
            tried = {**status, "findings": [*chosen, form], **({"more": left} if left else {})}
            if _size(tried) <= MAX_BYTES:
                chosen.append(form)
                break
        else:
            break
    left = len(entries) - len(chosen)
    fields = {"findings": chosen} if chosen else {}
    return {**status, **fields, **({"more": left} if left else {})}


def _size(content: dict[str, Any]) -> int:
    return len(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())


def _time(seconds: float) -> str:
    try:
        return timestamp(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, ValueError, OSError):
        return timestamp(datetime.fromtimestamp(0, UTC))
