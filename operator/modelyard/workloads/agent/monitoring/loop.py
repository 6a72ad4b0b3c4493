"""The loop of monitoring: takes what Triton drew, steps the statistics, keeps and tells the result.

Everything that takes more than a moment runs in a thread, one piece at a time. Nothing here may
disturb serving: the loop fails by itself and starts again (`agent.Agent._keep`), and a Triton that
does not answer, a disk that is full, or a state that cannot be read is waited for or told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelyard.api.monitoring import DriftStatus, ServerDrift, ServerMonitoring
from modelyard.drift import monitor as statistics
from modelyard.drift.findings import Change, Event, Kind
from modelyard.drift.monitor import State
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.profile import Profile
from modelyard.drift.settings import DriftSettings
from modelyard.serving.draws import Draw, Draws
from modelyard.serving.switch import Serving, Switcher
from modelyard.serving.triton import TritonUnavailableError
from modelyard.workloads.agent.monitoring import figures, series, summary
from modelyard.workloads.agent.monitoring.bridging import Beside, Bridge
from modelyard.workloads.agent.monitoring.clock import Clock
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.gauges import Gauges
from modelyard.workloads.agent.monitoring.keeping import Keeper, Kept
from modelyard.workloads.agent.monitoring.own import OwnFindings
from modelyard.workloads.agent.monitoring.wish import (
    drift_settings,
    pipeline_key,
    sample_seconds,
    wished,
)
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Interval of looks at what was drawn, at most; a fifth of the sample's if that is shorter."""
TICK_SECONDS = 30.0
SAVE_SECONDS = 300.0
"""Interval of writes of the state for the sake of open blocks."""
SAVE_SOON_SECONDS = 5.0
"""Interval of writes after something happened."""
_TROUBLE_SECONDS = 10.0
_RELEASES = 4
"""Generations that are known by name: what was drawn may be answered by the one before."""
_TO_ACCEPT = (Kind.DRIFTING, Kind.SITE_CHANGED, Kind.CAMERA_MOVED, Kind.BASELINE_SUSPICIOUS)
"""What `modelyard drift accept` accepts; a source without any of these is left alone."""


@dataclass(frozen=True)
class Outlets:
    """Who gets what monitoring finds."""

    changed: Callable[[], None]
    """Called when a person waits for what is reported."""
    gauges: Gauges
    offer: Callable[[Draw, Observation, bool], Any] | None = None
    """Coroutine function that gets each observed request, and whether its source drifts: for
    capture. Awaited; must be quick."""


@dataclass
class _Timers:
    tick: float = 0.0
    saved: float = 0.0
    dirty: bool = False
    """Whether there is something to save."""
    soon: bool = False
    """Whether that is more than an open block."""


@dataclass
class _Wanted:
    drift: ServerDrift
    settings: DriftSettings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = drift_settings(self.drift)


class Monitor:
    """Monitors what the version that serves sees."""

    def __init__(
        self,
        *,
        draws: Draws,
        switcher: Switcher,
        assigned: Assigned,
        keeper: Keeper,
        clock: Clock,
        outlets: Outlets,
        bridge: Bridge,
        beside: Callable[[], Beside | None],
        profile: Callable[[Release], Profile | None],
        persistent: bool,
    ) -> None:
        """`beside` returns the shadowed version, `profile` (in a thread) the holdout's of what
        answers; `persistent` says whether the cache outlives the pod."""
        self._draws = draws
        self._switcher = switcher
        self._assigned = assigned
        self._keeper = keeper
        self._clock = clock
        self._outlets = outlets
        self._bridge = bridge
        self._beside = beside
        self._profile = profile
        self._persistent = persistent
        self._kept: Kept | None = None
        self._state = statistics.initial()
        self._own = OwnFindings({})
        self._wanted: _Wanted | None = None
        self._releases: dict[str, Release] = {}
        self._observed: Release | None = None
        """What answered the last request that was looked at."""
        self._asked: tuple[object, ...] | None = None
        self._timers = _Timers()
        self.report: DriftStatus | None = None
        """The report for the status; None while drift is not looked for."""
        self.stopping = False

    async def run(self) -> None:
        """Monitors until cancelled."""
        while True:
            delay = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._assigned.monitoring_changed.wait(), delay)

    async def step(self) -> float | None:
        """Do what is due; returns the seconds until the next step, None to wait for another
        wish."""
        self._assigned.monitoring_changed.clear()
        if self.stopping:
            return POLL_SECONDS
        kept = await self._remember()
        wish = wished(self._assigned, kept.monitoring)
        if wish is None or (wish.drift is None and wish.capture is None):
            await self._off(kept, wish)
            return None if self._assigned.server is not None else POLL_SECONDS
        if wish != kept.monitoring:
            kept.monitoring = wish
            self._changed(soon=True)
        drift = wish.drift or ServerDrift()
        if self._wanted is None or self._wanted.drift != drift:
            self._wanted = _Wanted(drift)
        if wish.drift is not None:
            await self._obey(wish, kept)
        try:
            await self._take(self._wanted)
        except TritonUnavailableError:
            pass  # the loader reports it
        except OSError as error:
            logger.warning("requests cannot be drawn: %s", error)
            return _TROUBLE_SECONDS
        await self._tick(self._wanted)
        self._tell(wish, kept)
        await self._save(kept)
        return min(POLL_SECONDS, sample_seconds(drift) / 5)

    async def save(self) -> None:
        """Writes what is not on disk yet; for the end of the agent."""
        if self._kept is not None and self._timers.dirty:
            self._timers.saved = float("-inf")
            await self._save(self._kept)

    def recent(self) -> dict[str, Any]:
        """Recent points of all charts, for `modelyard drift`."""
        wanted = self._wanted
        if wanted is None or self.report is None:
            return {"drift": None}
        signals = (*wanted.settings.signals, *wanted.settings.explain)
        return series.recent(self._state, signals, self.report)

    async def _remember(self) -> Kept:
        if self._kept is None:
            kept = await asyncio.to_thread(self._keeper.read)
            if kept.state is not None:
                try:
                    self._state = await asyncio.to_thread(statistics.from_json, kept.state)
                except statistics.UnknownFormat as error:
                    logger.warning("the state of monitoring cannot be used: %s", error)
                    await asyncio.to_thread(self._keeper.put_aside)
                    kept.lost = True
                kept.state = None
            self._kept = kept
            self._own = OwnFindings(kept.since)
        return self._kept

    async def _off(self, kept: Kept, wish: ServerMonitoring | None) -> None:
        if self._assigned.server is not None and kept.monitoring != wish:
            kept.monitoring = wish
            self._changed(soon=True)
            await self._save(kept)
        self._wanted = None
        if self._asked is not None or self.report is not None:
            self._asked, self.report = None, None
            self._outlets.gauges.clear()
            self._outlets.changed()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._draws.off)

    async def _obey(self, wish: ServerMonitoring, kept: Kept) -> None:
        """Does what people asked for by annotations, each value once."""
        assert self._wanted is not None
        settings = self._wanted.settings
        if wish.reset is not None and wish.reset != kept.reset:
            logger.info("baselines are taken anew, as asked for by %s", wish.reset)
            self._state = await asyncio.to_thread(statistics.reset, self._state, None, settings)
            kept.reset, kept.lost = wish.reset, False
            self._changed(soon=True)
        if wish.accepted is not None and wish.accepted != kept.accepted:
            found = statistics.findings(self._state)
            for source in sorted({one.source for one in found if one.kind in _TO_ACCEPT}):
                logger.info("%s is accepted as it is, as asked for by %s", source, wish.accepted)
                self._state = await asyncio.to_thread(
                    statistics.accept, self._state, source, settings
                )
            kept.accepted = wish.accepted
            self._changed(soon=True)

    async def _take(self, wanted: _Wanted) -> None:
        serving = await self._switcher.serving()
        if serving is not None and serving.record is not None:
            self._release(serving)
            await self._ask(serving, wanted.drift)
        taken = await asyncio.to_thread(self._draws.take)
        self._own.requests(taken)
        self._outlets.gauges.missed(taken.missed)
        for draw in taken.draws:
            await self._observe(draw, wanted)

    async def _ask(self, serving: Serving, drift: ServerDrift) -> None:
        # A source that is silent for long gives its place to another.
        sources = [
            name
            for name, one in self._state.sources.items()
            if self._state.now - one.seen < statistics.FORGET
        ]
        asked = (serving.generation, sample_seconds(drift), drift.source, sources)
        if asked != self._asked:
            await asyncio.to_thread(
                self._draws.control,
                serving.generation,
                sample_seconds(drift),
                parameter=drift.source.parameter,
                sources=sources,
                most=drift.source.max,
            )
            self._asked = asked

    def _release(self, serving: Serving) -> None:
        name, record = serving.generation.name, serving.record
        assert record is not None
        if name not in self._releases:
            manifest = record.manifest
            self._releases[name] = Release(
                artifact=manifest.file.digest,
                pipeline=pipeline_key(record.settings.pipeline),
                classes=len(manifest.classes),
                embeds=getattr(manifest, "embedding", None) is not None,
            )
            while len(self._releases) > _RELEASES:
                del self._releases[next(iter(self._releases))]

    async def _observe(self, draw: Draw, wanted: _Wanted) -> None:
        release = self._releases.get(draw.generation)
        if release is None:
            self._outlets.gauges.missed(1)
            return
        if pairs := self._bridge.pairs_for(release):
            self._state = await asyncio.to_thread(statistics.bridge, self._state, pairs)
        try:
            observed, events = await asyncio.to_thread(self._step_with, draw, release, wanted)
        except ValueError as error:
            logger.warning("an answer to %s cannot be used: %s", draw.source, error)
            self._outlets.gauges.missed(1)
            return
        self._observed = release
        self._happened(events)
        beside = self._beside()
        if beside is not None and beside.release != release:
            await self._bridge.pair(draw, observed, beside)
        if self._outlets.offer is not None:
            await self._outlets.offer(
                draw, observed, statistics.is_drifting(self._state, draw.source)
            )

    def _step_with(
        self, draw: Draw, release: Release, wanted: _Wanted
    ) -> tuple[Observation, tuple[Event, ...]]:
        began = time.thread_time()
        observed = figures.observe(draw, release)
        self._state, events = statistics.step(
            self._state, observed, wanted.settings, self._profile(release)
        )
        self._outlets.gauges.observed(time.thread_time() - began)
        return observed, events

    async def _tick(self, wanted: _Wanted) -> None:
        now = time.monotonic()
        if now < self._timers.tick:
            return
        self._timers.tick = now + min(TICK_SECONDS, wanted.settings.block_duration)
        tick = Tick(self._clock.now(), self._clock.synchronised())
        self._state, events = await asyncio.to_thread(
            statistics.step, self._state, tick, wanted.settings
        )
        self._happened(events)

    def _happened(self, events: tuple[Event, ...]) -> None:
        self._changed(soon=any(event.change is not Change.BLOCK for event in events))
        assert self._wanted is not None
        for event in events:
            if event.change is Change.BLOCK:
                self._outlets.gauges.block(self._state, event.source, self._wanted.settings.signals)

    def _tell(self, wish: ServerMonitoring, kept: Kept) -> None:
        if wish.drift is None:
            self.report = None
            return
        synchronised = self._clock.synchronised()
        sources = self._state.sources.values()
        calibrated = sum(one.model.baseline is not None for one in sources)
        kept.lost = kept.lost and not calibrated
        found = [summary.found(one) for one in statistics.findings(self._state)]
        own = self._own.hold(
            self._clock.now(),
            drift=wish.drift,
            release=self._observed,
            synchronised=synchronised,
            persistent=self._persistent,
            lost=kept.lost,
        )
        facts = summary.Facts(
            artifact=self._observed.artifact if self._observed else "",
            sources=len(sources),
            calibrated=calibrated,
            accepted=kept.accepted,
            reset=kept.reset,
            synchronised=synchronised,
        )
        told = [one for one in found if one is not None and not _repeats(one, own)]
        before, self.report = self.report, summary.summarise([*told, *own], facts, kept.reported)
        self._outlets.gauges.state(self.report)
        if summary.is_urgent(before, self.report):
            self._outlets.changed()

    def _changed(self, *, soon: bool) -> None:
        self._timers.dirty = True
        self._timers.soon = self._timers.soon or soon

    async def _save(self, kept: Kept) -> None:
        timers, now = self._timers, time.monotonic()
        if not timers.dirty or now - timers.saved < (
            SAVE_SOON_SECONDS if timers.soon else SAVE_SECONDS
        ):
            return
        timers.saved, timers.dirty, timers.soon = now, False, False
        try:
            await asyncio.to_thread(self._write, kept, self._state)
        except OSError as error:
            timers.dirty = True
            logger.warning("the state of monitoring cannot be kept: %s", error)

    def _write(self, kept: Kept, state: State) -> None:
        kept.state = statistics.to_json(state)
        try:
            self._keeper.write(kept)
        finally:
            kept.state = None  # it is large, and known


def _repeats(one: summary.Found, own: list[summary.Found]) -> bool:
    """Whether the agent says the same thing of the whole server."""
    return any(one.kind == other.kind for other in own)
