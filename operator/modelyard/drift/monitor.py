"""The entry point: a reducer over observations and ticks, for all sources of one server.

    state, events = step(state, observation, settings)
    found = findings(state)                    # what holds now: for status, metrics, capture
    text = json.dumps(to_json(state)); state = from_json(json.loads(text))

`State.sources` may be stored source by source: no source's part depends on another's (but for the
number of sources, which share the budget of false alarms). A state that was written and read gives
the same events. After a crash, at most the images since the last write are missing: write when
`events` is not empty, and every few minutes for open blocks and pilots. A source's state has at
most 0.4 MB as JSON while its baseline is taken, and a tenth of that afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.drift import actions, codec, reporting
from modelyard.drift import source as sources
from modelyard.drift.bridging import Pair, bridge_source
from modelyard.drift.findings import Change, Event, Finding, Kind
from modelyard.drift.observation import MAX_SOURCE, Observation, Tick
from modelyard.drift.profile import Profile
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.signals import Signal
from modelyard.drift.source import Source

FORMAT = 1
"""Version of the stored state. Others are refused: start anew and say so."""
FORGET = 30 * DAY
"""A silent source gives its place to another one after so long."""
NAMED = 8
"""Sources beyond `max` that are named."""
_ORDER = tuple(Kind)

Pool = Mapping[Signal, Sequence[float]]
_NO_POOL: Pool = {}


class UnknownFormat(Exception):
    """A stored state of another version, or a damaged one."""


@dataclass(frozen=True)
class State:
    """All that is remembered of a server."""

    sources: dict[str, Source] = field(default_factory=dict)
    now: float = 0.0
    """Latest time that was seen."""
    unsynchronised_since: float = 0.0
    """0 while the clock is synchronised."""
    ignored: tuple[str, ...] = ()
    """Sources beyond `max`, the first few of them."""
    ignored_at: float = 0.0
    shown: tuple[Finding, ...] = ()
    """What holds."""


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
    return State()


def step(
    state: State,
    event: Observation | Tick,
    settings: DriftSettings,
    profile: Profile | None = None,
    pool: Pool = _NO_POOL,
) -> tuple[State, tuple[Event, ...]]:
    """The state after an image or a tick, and what happened.

    `profile` is that of the artifact in the observation; `pool` are means of the baselines of the
    pool's other servers, by signal (`pool_values`), where they are known.
    """
    if isinstance(event, Tick):
        return _ticked(state, event, settings)
    if state.unsynchronised_since:
        return state, ()
    name = event.source[:MAX_SOURCE]
    state = replace(state, now=max(state.now, event.time))
    source = state.sources.get(name)
    if source is None:
        state = _with_place(state, settings)
        if len(state.sources) >= settings.sources:
            named = dict.fromkeys((*state.ignored, name))
            ignored = tuple(named)[:NAMED]
            return _shown(replace(state, ignored=ignored, ignored_at=event.time), (), settings)
        source = Source(name, first=event.time)
        state = replace(state, sources={**state.sources, name: source})
    if name != event.source:
        event = replace(event, source=name)
    source, events = sources.with_image(
        source, event, settings, sources=len(state.sources), profile=profile, pool=pool
    )
    source = sources.expired(source, event.time)
    state = replace(state, sources={**state.sources, name: source})
    state, transitions = _shown(state, (name,), settings)
    return state, (*events, *transitions)


def _ticked(state: State, tick: Tick, settings: DriftSettings) -> tuple[State, tuple[Event, ...]]:
    state = replace(state, now=max(state.now, tick.time) if tick.synchronised else state.now)
    if not tick.synchronised:
        if not state.unsynchronised_since:
            found = {n: sources.held(one) for n, one in state.sources.items()}
            state = replace(state, sources=found, unsynchronised_since=tick.time)
        return _shown(state, (), settings)
    # A clock that was ahead while it was not synchronised must not stop time.
    state = replace(state, unsynchronised_since=0.0, now=tick.time)
    found = {n: sources.expired(one, tick.time) for n, one in state.sources.items()}
    if state.ignored and tick.time - state.ignored_at > DAY:
        state = replace(state, ignored=())
    return _shown(replace(state, sources=found), tuple(found), settings)


def _with_place(state: State, settings: DriftSettings) -> State:
    """Without the sources that have been silent for long, if there are as many as there may be."""
    if len(state.sources) < settings.sources:
        return state
    left = {n: one for n, one in state.sources.items() if state.now - one.seen < FORGET}
    shown = tuple(one for one in state.shown if not one.source or one.source in left)
    return replace(state, sources=left, shown=shown)


def _shown(
    state: State, changed: Iterable[str], settings: DriftSettings
) -> tuple[State, tuple[Event, ...]]:
    """With the findings of these sources and of the server brought up to date, and transitions."""
    names = {*changed, ""}
    found = [one for one in state.shown if one.source not in names]
    for name in names - {""}:
        found += reporting.findings_of(state.sources[name], state.now, settings)
    if state.unsynchronised_since:
        since = state.unsynchronised_since
        found.append(Finding(Kind.CLOCK_UNSYNCHRONISED, since=since, first=since))
    if state.ignored:
        detail = f"more than {settings.sources}, among them {', '.join(state.ignored[:3])}"
        found.append(Finding(Kind.TOO_MANY_SOURCES, first=state.ignored_at, detail=detail))
    found.sort(key=lambda one: (_ORDER.index(one.kind), one.source, one.signal or ""))
    before, after = ({one.key: one for one in many} for many in (state.shown, found))
    raised = [after[key] for key in after if key not in before]
    cleared = [before[key] for key in before if key not in after]
    events = [Event(Change.RAISED, state.now, one.source, one) for one in raised]
    events += [Event(Change.CLEARED, state.now, one.source, one) for one in cleared]
    return replace(state, shown=tuple(found)), tuple(events)


def findings(state: State) -> tuple[Finding, ...]:
    """What holds, in the order of `Kind`: drift first."""
    return state.shown


def is_drifting(state: State, source: str | None = None) -> bool:
    """Whether any source drifts, or that one."""
    return any(one.kind is Kind.DRIFTING and source in (None, one.source) for one in state.shown)


def is_calibrated(state: State) -> bool:
    """Whether any source has a baseline, so that its charts could alarm: a server without one says
    nothing about drift."""
    return any(one.model.baseline is not None for one in state.sources.values())


def accept(state: State, source: str | None, settings: DriftSettings) -> State:
    """A person accepts what a source (None: all) looks like.

    A suspicious baseline comes into force. Where one was in force already, a new one is taken: it
    has its days and blocks to wait for. Either becomes the anchor; drift, SiteChanged and
    CameraMoved end.
    """
    return _applied(state, source, settings, actions.accepted)


def reset(state: State, source: str | None, settings: DriftSettings) -> State:
    """Forgets baselines and charts of a source (None: all); the anchors stay."""
    return _applied(state, source, settings, actions.reset)


def _applied(state: State, source: str | None, settings: DriftSettings, change: Any) -> State:
    names = [name for name in state.sources if source in (None, name)]
    found = {**state.sources, **{name: change(state.sources[name], state.now) for name in names}}
    return _shown(replace(state, sources=found), names, settings)[0]


def bridge(state: State, pairs: Sequence[Pair]) -> State:
    """Carries each source's baseline over to the shadowed version: old + mean paired difference.

    Call it when the shadow's version is about to serve. Sources with fewer than 200 pairs are left
    as they are: they will take a new baseline.
    """
    found = {name: bridge_source(one, pairs, state.now) for name, one in state.sources.items()}
    return replace(state, sources=found)


def chart(state: State, source: str, signal: Signal) -> tuple[ChartPoint, ...]:
    """The last points of a chart (at most 288), oldest first; for `modelyard drift`. Empty for an
    unknown source, or without a baseline."""
    if source not in state.sources:
        return ()
    times, z, levels = state.sources[source].recent.points(signal)
    rows = zip(times, z, levels, strict=True)
    return tuple(ChartPoint(float(t), float(v), float(one)) for t, v, one in rows)


def pool_values(state: State) -> dict[str, dict[Signal, float]]:
    """Mean of each source's baseline in force, by signal: what servers of a pool compare. Distances
    are left out."""
    return {
        name: {
            signal: one.block_mean
            for line in (source.model, source.pixels)
            if line.baseline is not None
            for signal, one in line.baseline.signals.items()
            if signal not in (Signal.CLASS_MIX, Signal.EMBEDDING)
        }
        for name, source in state.sources.items()
    }


def to_json(state: State) -> dict[str, Any]:
    """As plain lists, texts and numbers."""
    return {"format": FORMAT, "state": codec.encode(state)}


def from_json(found: Mapping[str, Any]) -> State:
    """The state that `to_json` has written. Raises UnknownFormat."""
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise UnknownFormat("this state was written by another version")
    try:
        state: State = codec.decode(State, found.get("state"))
    except (TypeError, ValueError, KeyError) as error:
        raise UnknownFormat(f"this state is damaged: {error}") from error
    return state
