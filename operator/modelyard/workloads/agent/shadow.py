"""Runs a version beside the one that serves, on copies of requests, and compares the responses.

It stays behind: nothing starts while something is due for the assigned version, and copies are
answered one at a time, with pauses. Users only ever see the serving version's answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from modelyard.api.modelserver import Assignment, ShadowFigures, Shadowing
from modelyard.contract.statustext import truncate
from modelyard.serving.names import Generation
from modelyard.serving.spool import Sample, Spool
from modelyard.serving.switch import Serving, Switcher
from modelyard.serving.triton import InferenceError, Triton, TritonUnavailableError
from modelyard.workloads.agent.artifacts import Fetched, StoppedError
from modelyard.workloads.agent.comparison import ClassMap, Comparison
from modelyard.workloads.agent.copies import Copies
from modelyard.workloads.agent.failures import failure
from modelyard.workloads.agent.fetching import BackgroundFetch
from modelyard.workloads.agent.hardware import Hardware
from modelyard.workloads.agent.loading import load
from modelyard.workloads.agent.retry import MAX_CRASHES, Cause, Retries
from modelyard.workloads.agent.status import Reason
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Poll interval of the spool."""
BUSY_PENDING = 8
"""Queued requests in Triton from which on copies are not replayed."""
_REPLAY_SECONDS = 30.0
_TROUBLE_SECONDS = 30.0
_SETTLE_SECONDS = 3.0
"""Time for requests in flight to leave their copies after copying was turned off."""
_SERVING_SECONDS = 2.0
"""How long the serving version is cached."""


class Shadower:
    """Keeps what spec.shadow names running beside, and counts how it compares."""

    def __init__(
        self,
        *,
        triton: Triton,
        switcher: Switcher,
        spool: Spool,
        fetching: BackgroundFetch,
        assigned: Assigned,
        hardware: Hardware,
        pending: Callable[[], float],
        on_report: Callable[[], None],
    ) -> None:
        """`pending` returns the number of requests queued in Triton; `on_report` is called when
        the report changes other than in its figures."""
        self._triton = triton
        self._switcher = switcher
        self._copies = Copies(spool)
        self._fetching = fetching
        self._assigned = assigned
        self._hardware = hardware
        self._pending = pending
        self._on_report = on_report
        self._wish: Shadowing | None = None
        self._left = True
        """Whether models or copies of an earlier assignment may be left."""
        self._retries = Retries()
        self._failure: str | None = None
        self._given_up = False
        """Whether the version is not tried again."""
        self._ends = 0
        """How often Triton ended while the version ran beside."""
        self._generation: Generation | None = None
        self._names: tuple[str, ...] = ()
        """Names of the shadowed version's classes."""
        self._comparison: Comparison | None = None
        self._serving: Serving | None = None
        self._serving_due = 0.0
        self._before: ShadowFigures | None = None
        """What an earlier agent counted of the version."""
        self._fresh = True
        """Whether this agent has shadowed nothing yet."""
        self.stopping = False
        """Once set, nothing is changed any more."""

    @property
    def report(self) -> ShadowFigures | None:
        """The report for the status; None if no version is shadowed."""
        wish = self._wish
        if wish is None:
            return None
        if self._failure is not None:
            one = wish.version
            return ShadowFigures(
                model_version=one.model_version,
                version=one.version,
                digest=one.digest,
                manifest_digest=one.manifest_digest,
                failure=truncate(self._failure),
            )
        return self._comparison.report(self._copies.dropped) if self._comparison else None

    @property
    def running(self) -> tuple[Assignment, Generation, int] | None:
        """The shadowed version, its generation in Triton and its number of classes; None unless it
        answers."""
        if self._generation is None or self._wish is None or self._comparison is None:
            return None
        return self._wish.version, self._generation, len(self._names)

    async def run(self) -> None:
        """Shadows until cancelled."""
        while True:
            delay = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._assigned.shadow_changed.wait(), delay)

    async def step(self) -> float | None:
        """Do the next thing that is due; returns the seconds until the next step, None to wait for
        another assignment."""
        self._assigned.shadow_changed.clear()
        if self.stopping:
            return 1.0
        wish = self._assigned.shadow
        if wish is None or self._wish is None or wish.version != self._wish.version:
            await self._begin(wish)
        self._wish = wish
        try:
            if wish is None:
                return await self._release()
            if self._is_assigned(wish.version):
                # The switch takes over what was prepared.
                self._generation = self._serving = None
                await self._copies.end()
                return _SERVING_SECONDS
            return await self._shadow(wish)
        except StoppedError:
            return POLL_SECONDS
        except TritonUnavailableError as error:
            self._lost(error)
            return _SERVING_SECONDS

    async def _begin(self, wish: Shadowing | None) -> None:
        """Reset for another version, or for none."""
        if self._wish is not None or wish is not None:
            self._left = True
        had = self.report is not None
        if self._assigned.server is not None and wish is None:
            self._fresh = False
        self._generation = self._comparison = self._failure = None
        self._given_up, self._ends = False, 0
        self._retries.reset()
        await self._copies.end()
        if wish is not None:
            self._before = self._counted(wish.version) if self._fresh else None
            self._fresh = False
            failed = self._before.failure if self._before else None
            if failed and failed.startswith(Reason.TRITON_CRASHED):
                self._failure, self._given_up = failed, True
        if had:
            self._on_report()

    async def _release(self) -> float | None:
        """Unload the prepared version once it is certain that nothing switches to it."""
        if self._left:
            await self._assigned.idle.wait()
            if self._assigned.shadow is None:
                await self._switcher.release()
                self._left = False
            return _SETTLE_SECONDS
        await self._copies.sweep()
        return None

    async def _shadow(self, wish: Shadowing) -> float | None:
        serving = await self._look_up()
        if serving is None:
            return _SERVING_SECONDS
        if self._generation is None:
            await self._copies.end()
            if self._given_up:
                return None
            if (wait := self._retries.next_try - time.monotonic()) > 0:
                return wait
            await self._assigned.idle.wait()
            if wish == self._assigned.shadow:
                await self._prepare(wish.version)
            return 0.0
        try:
            await self._copies.ask(wish.share, serving.generation)
            samples = await self._samples()
        except OSError as error:
            self._say_failure(f"copies of requests cannot be kept: {error}")
            return _TROUBLE_SECONDS
        self._say_failure(None)
        for sample in samples:
            if wish != self._assigned.shadow or self._generation is None or self.stopping:
                break
            if sample.version == serving.generation.version:
                rest = 100 / wish.busy_percent - 1
                await asyncio.sleep(await self._replay(sample, serving) * rest)
        return 0.0 if samples else POLL_SECONDS

    async def _prepare(self, version: Assignment) -> None:
        """Load the version beside the one that serves."""
        try:
            fetched = await self._fetching.fetch(version, lambda: self._is_wished(version))
            self._generation = await self._load(version, fetched)
        except StoppedError:
            raise
        except Exception as error:
            found = failure(error)
            self._retries.failed(found.cause, time.monotonic())
            # It took Triton down with it, and gets no second chance to do so.
            self._given_up = found.cause is Cause.CRASH
            self._say_failure(f"{found.reason}: {found.message}")
            return
        self._names = tuple(fetched.manifest.classes)
        self._failure = None
        self._retries.reset()
        if self._comparison is None:
            await self._copies.begin()
            self._comparison = Comparison(version, self._before)
        logger.info("%s is shadowed", version.model_version)
        self._on_report()

    async def _load(self, version: Assignment, fetched: Fetched) -> Generation:
        settings = self._hardware.settings(version)
        return await load(
            self._triton,
            version,
            self._switcher.prepare(version.version, fetched.manifest, fetched.model_file, settings),
            advice=" beside the version that serves; if it ran out of memory, give the server more",
        )

    async def _look_up(self) -> Serving | None:
        """The serving version, cached for a moment."""
        now = time.monotonic()
        if self._serving is None or now >= self._serving_due:
            self._serving = await self._switcher.serving()
            self._serving_due = now + _SERVING_SECONDS
        return self._serving

    async def _samples(self) -> list[Sample]:
        """Copies to replay now; none while requests are queued."""
        if self._pending() >= BUSY_PENDING:
            return []
        return await self._copies.take()

    async def _replay(self, sample: Sample, serving: Serving) -> float:
        """Replay a copy on the shadowed version; returns the seconds that it took."""
        generation, comparison = self._generation, self._comparison
        if generation is None or comparison is None:
            return 0.0
        started = time.monotonic()
        try:
            answer = await self._triton.infer_image(
                generation.name, sample.image, seconds=_REPLAY_SECONDS, prove=True
            )
        except (InferenceError, TritonUnavailableError):
            # A restarted Triton has not loaded the version: no failure of the version.
            if await self._triton.model_ready(generation.name):
                comparison.failed()
            else:
                self._generation = None
            return time.monotonic() - started
        seconds = time.monotonic() - started
        served = serving.record.manifest.classes if serving.record else self._names
        comparison.answered(sample, answer, seconds * 1000, ClassMap(self._names, served))
        return seconds

    def _lost(self, error: TritonUnavailableError) -> None:
        logger.info("nothing is shadowed: %s", error)
        wish = self._wish
        if self._generation is None or wish is None:
            return
        self._generation = self._serving = None
        self._ends += 1
        if self._ends > MAX_CRASHES:
            # Once may be chance, but serving suffers each time.
            self._given_up = True
            self._say_failure(
                f"{Reason.TRITON_CRASHED}: Triton ended {self._ends} times while "
                f"{wish.version.model_version} ran beside the version that serves; if it ran out "
                "of memory, give the server more"
            )

    def _say_failure(self, text: str | None) -> None:
        if text != self._failure:
            self._failure = text
            if text is not None:
                logger.warning("nothing is shadowed: %s", text)
            self._on_report()

    def _counted(self, version: Assignment) -> ShadowFigures | None:
        """What an earlier agent of this server reported of the version."""
        found = self._assigned.status.shadow
        if found is None or (found.version, found.digest) != (version.version, version.digest):
            return None
        return found if found.manifest_digest in (None, version.manifest_digest) else None

    def _is_wished(self, version: Assignment) -> bool:
        shadow = self._assigned.shadow
        return shadow is not None and shadow.version == version

    def _is_assigned(self, version: Assignment) -> bool:
        wanted = self._assigned.wanted
        return wanted is not None and wanted.assignment == version
