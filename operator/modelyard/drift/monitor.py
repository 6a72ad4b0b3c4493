"""The entry point: a reducer over observations and ticks, for all sources of one server.

    state, events = step(state, observation, settings)
    found = findings(state)            # what holds now: for status, metrics, capture
    text = dumps(state); state = loads(text)

`State.sources` may be written source by source: no source's part depends on another's. A state that
was written and read gives the same events. After a crash, at most the images since the last write
are missing; write when `events` is not empty, and every few minutes for open blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.drift.findings import Event, Finding
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.profile import Profile
from modelyard.drift.settings import DriftSettings
from modelyard.drift.signals import Signal

FORMAT = 1
"""Version of the stored state. Others are refused: start anew and say so."""


class UnknownFormat(Exception):
    """A stored state of another version, or a damaged one."""


@dataclass(frozen=True)
class State:
    """All that is remembered of a server."""

    # sources: Mapping[str, SourceState] and a few fields more


@dataclass(frozen=True)
class Pair:
    """Figures of one image answered by the serving and by the shadowed version."""

    old: Observation
    new: Observation


@dataclass(frozen=True)
class ChartPoint:
    """A block (or day) on a chart."""

    time: float
    value: float
    """In baseline sd from the baseline's mean."""
    level: float
    """The larger of both CUSUMs in threshold units: an alarm at 1."""


def initial() -> State:
    """Nothing seen yet."""
    raise NotImplementedError


def step(
    state: State, event: Observation | Tick, settings: DriftSettings, profile: Profile | None = None
) -> tuple[State, tuple[Event, ...]]:
    """The state after an image or a tick, and what happened."""
    raise NotImplementedError


def findings(state: State) -> tuple[Finding, ...]:
    """What holds, most important first."""
    raise NotImplementedError


def accept(state: State, source: str | None, now: float, settings: DriftSettings) -> State:
    """A person accepts: a suspicious baseline, or what the sources look like now, becomes the new
    baseline and anchor; drift, SiteChanged and CameraMoved of the source end. None: all sources."""
    raise NotImplementedError


def reset(state: State, source: str | None, now: float) -> State:
    """Forgets baselines and charts of a source, or of all; the anchor stays."""
    raise NotImplementedError


def bridge(state: State, pairs: list[Pair], now: float, settings: DriftSettings) -> State:
    """Carries each source's baseline over to the shadowed version: old + mean paired difference.
    Sources with fewer than 200 pairs are left as they are (a new baseline will be taken)."""
    raise NotImplementedError


def chart(state: State, source: str, signal: Signal) -> tuple[ChartPoint, ...]:
    """The last points of a chart (at most 288), oldest first; for `modelyard drift`."""
    raise NotImplementedError


def pool_values(state: State) -> Mapping[str, Mapping[Signal, tuple[float, float]]]:
    """Mean and sd of each source's accepted baseline, by signal: what servers of a pool compare."""
    raise NotImplementedError


def to_json(state: State) -> dict[str, Any]:
    """As plain lists, texts and numbers."""
    raise NotImplementedError


def from_json(found: Mapping[str, Any]) -> State:
    """The state that `to_json` has written. Raises UnknownFormat."""
    raise NotImplementedError
