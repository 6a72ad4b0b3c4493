"""How many servers of a fleet drift, in which signals and pools: counts that one server's report is
added to and taken from, so that a change of one server costs the same however many there are.

Agents decide whether their own server drifts (modelyard/drift) and say so in
ModelServer.status.drift. Only servers that can be reached count. How many must drift at once:
driftnull.py; the condition and its episodes: core/deployment/drifting.py.

What an agent may say is bounded by the schema; what it says in other words than the API's is left
out here, so that no server makes counts grow without bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelyard.api.monitoring import DriftState, Explanation, FindingKind, Signal

_SIGNALS = frozenset(one.value for one in Signal)
_FIGURES = _SIGNALS | {one.value for one in Explanation}
_KINDS = frozenset(one.value for one in FindingKind) - {FindingKind.DRIFT}
_BASELINE = (DriftState.STABLE, DriftState.DRIFTING)
"""States of a server whose baseline is complete."""
LARGEST = 1000.0
"""Sizes are cut to this many standard deviations: more says nothing more."""


class DriftFact(NamedTuple):
    """What a server reports of monitoring."""

    state: str = ""
    """A DriftState; empty if it reports nothing."""
    signals: tuple[str, ...] = ()
    """Signals that drift, the first as named first by the server."""
    sizes: tuple[float, ...] = ()
    """How far each is from its baseline, in standard deviations of a block."""
    because: tuple[str, ...] = ()
    """Figures that changed with them."""
    others: tuple[str, ...] = ()
    """Findings that are no drift."""
    digest: str = ""
    """Artifact that the charts are about."""
    alarm: str = ""
    """Time of its first alarm, by its own clock."""
    captures: bool = False
    """Whether it reports of captures."""
    failure: str = ""
    """Why it cannot keep images."""

    @property
    def baseline(self) -> bool:
        """Whether its baseline is complete."""
        return self.state in _BASELINE

    @property
    def drifts(self) -> bool:
        """Whether it drifts."""
        return self.state == DriftState.DRIFTING

    @property
    def shown(self) -> DriftFact:
        """What decisions go by: sizes move with every report, and are no reason to decide."""
        return self._replace(sizes=())


NOTHING = DriftFact()


def read_drift(status: Mapping[str, Any]) -> DriftFact:
    """What a ModelServer's status says of monitoring."""
    drift, capture = status.get("drift"), status.get("capture")
    if not drift and not capture:
        return NOTHING
    drift = drift or {}
    sizes: dict[str, float] = {}
    because: set[str] = set()
    others: set[str] = set()
    for finding in drift.get("findings") or ():
        kind, signal = finding.get("kind"), finding.get("signal")
        if kind in _KINDS:
            others.add(kind)
        if kind != FindingKind.DRIFT or signal not in _SIGNALS:
            continue
        size = _size(finding.get("size"))
        if abs(size) >= abs(sizes.get(signal, 0.0)):
            sizes[signal] = size
        words = (str(one).partition(" ")[0] for one in finding.get("because") or ())
        because.update(word for word in words if word in _FIGURES)
    return DriftFact(
        state=str(drift.get("state") or ""),
        signals=tuple(sizes),
        sizes=tuple(sizes.values()),
        because=tuple(sorted(because)),
        others=tuple(sorted(others)),
        digest=str(drift.get("artifactDigest") or ""),
        alarm=str(drift.get("alarmSince") or ""),
        captures=bool(capture),
        failure=str((capture or {}).get("failure") or ""),
    )


def _size(value: Any) -> float:
    size = float(value or 0.0)
    return max(-LARGEST, min(LARGEST, size)) if math.isfinite(size) else 0.0


class Tally:
    """What servers that can be reached report together: those of a pool, or all."""

    __slots__ = (
        "baseline", "because", "captures", "digests", "drifting", "failures", "online", "others",
        "reporting", "sizes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.online = 0
        self.reporting = 0
        """Servers that report of drift."""
        self.baseline = 0
        """Servers with a complete baseline."""
        self.drifting = 0
        self.sizes: dict[str, list[float]] = {}
        """Sizes by signal, in order; of servers that drift."""
        self.because: Counter[str] = Counter()
        """Servers that drift, by figure that changed with it."""
        self.others: Counter[str] = Counter()
        """Servers by finding that is no drift."""
        self.digests: Counter[str] = Counter()
        """Servers that drift, by artifact."""
        self.captures = 0
        """Servers that report of captures."""
        self.failures: Counter[str] = Counter()
        """Servers that cannot keep images, by why."""

    def add(self, fact: DriftFact, sign: int) -> None:
        """Add a server, or take it back with sign -1."""
        self.online += sign
        self.captures += sign * fact.captures
        _count(self.failures, (fact.failure,) if fact.failure else (), sign)
        if not fact.state:
            return
        self.reporting += sign
        self.baseline += sign * fact.baseline
        _count(self.others, fact.others, sign)
        if not fact.drifts:
            return
        self.drifting += sign
        _count(self.because, fact.because, sign)
        _count(self.digests, (fact.digest,), sign)
        for signal, size in zip(fact.signals, fact.sizes, strict=True):
            sizes = self.sizes.setdefault(signal, [])
            if sign > 0:
                insort(sizes, size)
            else:
                del sizes[bisect_left(sizes, size)]
                if not sizes:
                    del self.sizes[signal]

    @property
    def signal(self) -> str:
        """The signal in which most servers drift; empty if none is named."""
        return max(sorted(self.sizes), key=lambda one: len(self.sizes[one]), default="")

    def median(self, signal: str) -> float | None:
        """Median size of the drift in a signal, in standard deviations of a block."""
        sizes = self.sizes.get(signal)
        return sizes[len(sizes) // 2] if sizes else None

    def most(self, counter: Counter[str]) -> str:
        """What most servers have in one of the counters; empty for none."""
        return max(sorted(counter), key=lambda one: counter[one], default="")


class DriftCount:
    """The servers of a fleet that can be reached, all and by pool."""

    def __init__(self) -> None:
        self.all = Tally()
        self.pools: dict[str, Tally] = {}
        self._drifting: dict[str, str] = {}
        """Servers that drift → time of the first alarm."""

    def add(self, name: str, pool: str, fact: DriftFact) -> None:
        """A server can be reached."""
        self.all.add(fact, 1)
        self.pools.setdefault(pool, Tally()).add(fact, 1)
        if fact.drifts:
            self._drifting[name] = fact.alarm

    def remove(self, name: str, pool: str, fact: DriftFact) -> None:
        """Take a server back that was added with these values."""
        self.all.add(fact, -1)
        tally = self.pools[pool]
        tally.add(fact, -1)
        if not tally.online:
            del self.pools[pool]
        self._drifting.pop(name, None)

    def alarms(self) -> Iterator[str]:
        """Times of the first alarms of servers that drift, in no order; visits each of them."""
        return filter(None, self._drifting.values())


def _count(counter: Counter[str], keys: tuple[str, ...], sign: int) -> None:
    for key in keys:
        counter[key] += sign
        if not counter[key]:
            del counter[key]
