"""Decides which samples become captures, and keeps them; the others are forgotten at once.

One sample is worked on at a time, and little waits: monitoring goes on when redaction is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from modelyard.api.monitoring import CaptureStatus, ServerCapture
from modelyard.contract.capture import Captured, CaptureFile, CaptureReason
from modelyard.contract.statustext import truncate
from modelyard.workloads.agent.capture import records
from modelyard.workloads.agent.capture.files import SpooledName
from modelyard.workloads.agent.capture.offers import Identity, Offered, Serving
from modelyard.workloads.agent.capture.redaction import NotRedacted, Prepared, Redactor
from modelyard.workloads.agent.capture.selection import DOUBTFUL, Look, key_of, uncertainty
from modelyard.workloads.agent.capture.spool import CaptureSpool
from modelyard.workloads.agent.capture.strata import KEYS, Span, Tally
from modelyard.workloads.agent.capture.uploading import Uploader

logger = logging.getLogger(__name__)

QUEUE = 4
"""Samples that wait at most; later ones are not captured."""
IDLE_SECONDS = 5.0
_SAVE_SECONDS = 60.0
"""How much of the count of samples a crash may lose."""
_LOOKS = 32
"""Looks of earlier captures that are remembered, per reason."""

Wish = tuple[CaptureReason, Span, int]


class Capturer:
    """Captures of one server."""

    def __init__(
        self,
        *,
        identity: Identity,
        spool: CaptureSpool,
        settings: Callable[[], ServerCapture | None],
        serving: Callable[[], Serving | None],
        redactor: Redactor,
        uploader: Uploader,
        clock: Callable[[], float],
        on_report: Callable[[], None] = lambda: None,
        chance: Callable[[], int] = lambda: random.getrandbits(64),
    ) -> None:
        """`settings` gives what the ModelServer's spec says, None if nothing is to be captured;
        `serving` the version that answers; `clock` seconds since 1970."""
        self._identity = identity
        self._spool = spool
        self._settings = settings
        self._serving = serving
        self._redactor = redactor
        self._uploader = uploader
        self._clock = clock
        self._on_report = on_report
        self._chance = chance
        self._queue: asyncio.Queue[tuple[Offered, bool]] = asyncio.Queue(QUEUE)
        self._boot = secrets.token_hex(6)
        self._counter = 0
        self._tallies: dict[tuple[CaptureReason, Span], Tally] = {}
        self._looks: dict[CaptureReason, list[Look]] = {}
        self._open_looks: dict[tuple[CaptureReason, Span], Look] = {}
        self._failure: str | None = None
        self._saved = 0.0
        self._reported: CaptureStatus | None = None

    async def offer(self, offered: Offered, *, drifting: bool) -> None:
        """Takes a sample into consideration. Never waits, never raises."""
        if self._settings() is None:
            return
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait((offered, drifting))

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                offered, drifting = await asyncio.wait_for(self._queue.get(), IDLE_SECONDS)
                await self._guarded(partial(self.consider, offered, drifting=drifting))
            await self._guarded(self.tend)

    async def drain(self) -> None:
        """The pod ends: what is open is closed, and what its disk will not keep is sent."""
        await self._guarded(partial(self._close, everything=True))
        await self._guarded(self._uploader.last)

    @property
    def status(self) -> CaptureStatus | None:
        """For the ModelServer; None while nothing is captured."""
        settings = self._settings()
        state = self._spool.state
        if settings is None and not state.stored and not self._spool.waiting:
            return None
        failure = self._failure or self._uploader.failure
        done = state.on_demand if state.on_demand_left == 0 else None
        return CaptureStatus(
            stored=state.stored or None,
            waiting=self._spool.waiting or None,
            dropped=state.dropped or None,
            failure=truncate(failure, 256) if failure else None,
            on_demand=done,
        )

    async def consider(self, offered: Offered, *, drifting: bool) -> None:
        """Keeps a sample for each reason that wants it. Raises OSError."""
        settings, serving = self._settings(), self._serving()
        if settings is None or serving is None or serving.version != offered.version:
            return
        self._take_request(settings)
        await asyncio.to_thread(self._spool.comply, settings.redact)
        wishes = self._wishes(offered, settings, drifting)
        on_demand = self._spool.state.on_demand_left > 0
        if not wishes and not on_demand:
            return
        try:
            prepared = await self._redactor.prepare(offered, serving, settings.redact)
        except NotRedacted as error:
            self._spool.state.dropped += 1
            self._say(str(error))
            return
        self._say(None)
        look = Look.of(offered, prepared.pixels)
        for wish in wishes:
            await self._keep(wish, offered, serving, prepared, look)
        if on_demand:
            await self._keep_now(offered, serving, prepared)

    async def tend(self) -> None:
        """Ends spans that are over, and uploads. Raises OSError."""
        await self._close()
        now = self._clock()
        if self._tallies and now - self._saved >= _SAVE_SECONDS:
            self._saved = now
            await asyncio.to_thread(self._save)
        await self._uploader.step()
        self._report()

    def _wishes(self, offered: Offered, settings: ServerCapture, drifting: bool) -> list[Wish]:
        """Spans whose best sample so far this one beats, with its key."""
        doubt = uncertainty(offered)
        asked = [(CaptureReason.RANDOM, settings.random, self._chance)]
        if doubt >= DOUBTFUL:
            asked.append((CaptureReason.UNCERTAIN, settings.uncertain, lambda: key_of(doubt)))
        if drifting:
            asked.append((CaptureReason.DRIFTING, settings.drifting, self._chance))
        wishes: list[Wish] = []
        for reason, per_day, key_maker in asked:
            if not per_day:
                continue
            span, key = Span.at(offered.time, per_day), key_maker() % KEYS
            tally = self._tally(reason, span)
            self._tallies[reason, span] = Tally(tally.samples + 1, tally.alike)
            best = self._spool.best(reason, span)
            if best is None or key < best.key:
                wishes.append((reason, span, key))
        return wishes

    async def _keep(
        self,
        wish: Wish,
        offered: Offered,
        serving: Serving,
        prepared: Prepared,
        look: Look,
    ) -> None:
        reason, span, key = wish
        if reason is not CaptureReason.RANDOM:
            if any(look.like(other) for other in self._looks.get(reason, ())):
                return
            before = self._open_looks.get((reason, span))
            if before is not None and look.like(before):
                tally = self._tally(reason, span)
                self._tallies[reason, span] = Tally(tally.samples, tally.alike + 1)
                return
            self._open_looks[reason, span] = look
        name = SpooledName(reason, span, key, self._next_id())
        record = records.record(name.id, self._identity, reason, offered, serving, prepared)
        record = record.model_copy(update={"inclusion": records.inclusion(span, offered.requests)})
        await asyncio.to_thread(self._spool.keep, name, Captured(record, prepared.content))

    async def _keep_now(self, offered: Offered, serving: Serving, prepared: Prepared) -> None:
        state = self._spool.state
        reason = CaptureReason.ON_DEMAND
        record = records.record(
            self._next_id(), self._identity, reason, offered, serving, prepared
        ).model_copy(update={"request": (state.on_demand or "").partition("/")[2] or None})
        file = self._file({reason: 1}, record.id)
        await asyncio.to_thread(self._spool.urgent, file, Captured(record, prepared.content))
        state.on_demand_left -= 1
        await asyncio.to_thread(self._save)

    async def _close(self, *, everything: bool = False) -> None:
        now = self._clock() * 1000
        settings = self._settings()
        for name in self._spool.open():
            # The clock may have gone back, and another budget has other spans.
            current = name.span.start <= now < name.span.end
            if current and settings is not None and not everything:
                continue
            tally = self._tally(name.reason, name.span)

            def update(capture: Captured, tally: Tally = tally) -> Captured:
                return records.closed(capture, tally)

            urgent = await asyncio.to_thread(self._spool.close, name, update)
            if urgent is not None:
                file = self._file({name.reason: 1}, name.id)
                await asyncio.to_thread(self._spool.urgent, file, urgent)
                self._spool.discard(name)
            look = self._open_looks.pop((name.reason, name.span), None)
            if look is not None:
                self._looks[name.reason] = [*self._looks.get(name.reason, ()), look][-_LOOKS:]
        over = [key for key in self._tallies if everything or key[1].end <= now]
        for key in over:
            del self._tallies[key]
        if over:
            await asyncio.to_thread(self._save)

    def _take_request(self, settings: ServerCapture) -> None:
        """Takes up a new request for images on demand, once."""
        state = self._spool.state
        if settings.on_demand is None or settings.on_demand == state.on_demand:
            return
        state.on_demand = settings.on_demand
        state.on_demand_left = int(settings.on_demand.partition("/")[0])
        self._save()

    def _tally(self, reason: CaptureReason, span: Span) -> Tally:
        found = self._tallies.get((reason, span))
        if found is None:
            found = Tally(self._spool.state.samples.get(_span_key(reason, span), 0))
        return found

    def _save(self) -> None:
        self._spool.state.samples = {
            _span_key(reason, span): tally.samples
            for (reason, span), tally in self._tallies.items()
        }
        self._spool.save()

    def _next_id(self) -> str:
        self._counter += 1
        return f"{self._boot}-{self._counter:06d}"

    def _file(self, counts: dict[CaptureReason, int], identifier: str) -> CaptureFile:
        boot, _, counter = identifier.partition("-")
        day = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%d")
        return CaptureFile(day, boot, int(counter), counts)

    def bundle_name(self, counts: dict[CaptureReason, int]) -> CaptureFile:
        """Name of the next file with several captures."""
        return self._file(counts, self._next_id())

    def _say(self, failure: str | None) -> None:
        if failure and failure != self._failure:
            logger.warning("an image was not captured: %s", failure)
        self._failure = failure

    def _report(self) -> None:
        status = self.status
        if status != self._reported:
            self._reported = status
            self._on_report()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except OSError as error:
            self._spool.state.dropped += 1
            self._say(
                f"SpoolFull: captures cannot be written to the server's disk ({error.strerror}): "
                "make room on the volume of the agent's cache"
            )


def _span_key(reason: CaptureReason, span: Span) -> str:
    return f"{reason.letter}-{span.start}-{span.length}"
