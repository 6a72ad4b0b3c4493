"""Brings Triton to the assigned version, and back to the last good one if that fails.

`step` compares what Triton serves with the assignment and does the next thing that is due. Apart
from the failures of the current assignment it keeps no state that Triton, the repository or
`memory` has, so a restarted agent or Triton converges by the same steps. Switching itself:
serving/switch.py; loading: loading.py; retries: retry.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from modelyard.api.modelserver import Assignment, LoadedVersion
from modelyard.api.modelserver import ModelServerPhase as Phase
from modelyard.contract.naming import version_name
from modelyard.contract.statustext import timestamp
from modelyard.serving.switch import Serving, Swap, Switcher, SwitchError
from modelyard.serving.triton import Triton, TritonUnavailableError
from modelyard.workloads.agent.artifacts import ArtifactCache, Fetched, StoppedError
from modelyard.workloads.agent.failures import Failure, failure
from modelyard.workloads.agent.hardware import Hardware
from modelyard.workloads.agent.loading import load
from modelyard.workloads.agent.memory import Memory, Served
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.retry import Retries
from modelyard.workloads.agent.status import Reason, Report
from modelyard.workloads.agent.watch import Assigned, Wanted

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Poll interval of what Triton serves."""
PATIENCE = 3
"""Consecutive transient failures before the phase is Failed."""


class SupersededError(Exception):
    """Another assignment came while the artifact was fetched."""


class Loader:
    """Brings one server to what is assigned."""

    def __init__(
        self,
        *,
        triton: Triton,
        switcher: Switcher,
        artifacts: ArtifactCache,
        memory: Memory,
        assigned: Assigned,
        metrics: Metrics,
        hardware: Hardware,
        on_report: Callable[[], None],
    ) -> None:
        """`on_report` is called when `report` changes."""
        self._triton = triton
        self._switcher = switcher
        self._artifacts = artifacts
        self._memory = memory
        self._assigned = assigned
        self._metrics = metrics
        self._hardware = hardware
        self._on_report = on_report
        self._tried: Assignment | None = None
        self._retries = Retries()
        self._restores = Retries()
        self._failure: Failure | None = None
        self._known = {memory.served.generation: memory.served} if memory.served else {}
        self._fresh = True
        self._acquainted = False
        self._started = timestamp(datetime.now(UTC))
        self.report: Report | None = None
        """The report for the status; None before the first one."""
        self.switching = asyncio.Event()
        """Set while Triton is being changed."""
        self.stopping = False
        """Once set, nothing is changed any more."""

    async def step(self) -> float:
        """Do the next thing that is due; returns the seconds until the next step."""
        wanted = self._assigned.wanted
        if wanted is None or self.stopping:
            return POLL_SECONDS
        if self._assigned.server is not None and not self._acquainted:
            self._acquainted = True
            self._memory.adopt(self._assigned.status)
        try:
            return await self._step(wanted)
        except TritonUnavailableError as error:
            if self._failure is not None and self._failure.reason is Reason.TRITON_CRASHED:
                self._say_failed(wanted, self._failure, None)
            else:
                text = f"{error}; see the log of the container triton"
                self._say(wanted, Phase.LOADING, Reason.TRITON_UNAVAILABLE, text, None)
            return POLL_SECONDS

    async def _step(self, wanted: Wanted) -> float:
        serving = await self._switcher.serving()
        if self._fresh:
            self._fresh = False
            await self._finish_interrupted(serving)
            serving = await self._switcher.serving()
        assignment = wanted.assignment
        if assignment is None:
            text = f"this agent cannot read the assignment ({wanted.problem}): update its image"
            self._say(wanted, Phase.FAILED, Reason.INVALID_ASSIGNMENT, text, serving, stalled=True)
            self._settled(assignment)
            return POLL_SECONDS
        if assignment != self._tried:
            self._tried = assignment
            self._retries.reset()
            self._restores.reset()
            self._failure = None
        if self._holds(serving, assignment):
            self._retries.reset()
            self._failure = None
            text = f"{assignment.model_version} answers"
            self._say(wanted, Phase.READY, Reason.SERVING, text, serving)
            self._settled(assignment)
            return POLL_SECONDS
        alternative = self._alternative(serving, assignment)
        if self._retries.due(time.monotonic(), alternative=alternative):
            try:
                await self._bring(wanted, assignment, serving)
                return 0.0
            except SupersededError:
                return 0.0
            except Exception as error:
                self._count(assignment, error)
                serving = await self._switcher.serving()
        if self._failure is not None:
            self._say_failed(wanted, self._failure, serving)
        if serving is None:
            await self._restore(assignment)
        self._settled(assignment)
        return min(POLL_SECONDS, max(0.1, self._retries.next_try - time.monotonic()))

    def _settled(self, assignment: Assignment | None) -> None:
        """Mark the loader idle, unless another assignment came since."""
        wanted = self._assigned.wanted
        if wanted is not None and wanted.assignment == assignment:
            self._assigned.idle.set()

    async def _bring(self, wanted: Wanted, assignment: Assignment, serving: Serving | None) -> None:
        """One try to serve the assignment. Raises what went wrong."""
        self._assigned.idle.clear()
        first = not self._retries.failures
        name = f"{assignment.model_version} ({assignment.artifact})"
        if first:
            self._say(wanted, Phase.FETCHING, Reason.FETCHING, f"fetching {name}", serving)
        fetched = await self._fetch(assignment, assignment)
        if first:
            self._say(wanted, Phase.LOADING, Reason.LOADING, f"loading {name}", serving)
        await self._load(assignment, fetched)

    async def _restore(self, assignment: Assignment) -> None:
        """Serve the last good version again if the assigned one cannot be loaded."""
        served = self._memory.served
        if served is None or served.assignment == assignment:
            return
        if not self._restores.due(time.monotonic(), alternative=False):
            return
        self._assigned.idle.clear()
        logger.warning(
            "nothing answers and %s cannot be served: going back to %s",
            assignment.model_version, served.assignment.model_version,
        )  # fmt: skip
        try:
            await self._load(served.assignment, await self._fetch(served.assignment, assignment))
            self._restores.reset()
        except SupersededError:
            return
        except Exception as error:
            found = failure(error)
            self._restores.failed(found.cause, time.monotonic())
            logger.warning("going back failed: %s", found.message)

    async def _fetch(self, assignment: Assignment, current: Assignment) -> Fetched:
        """The assignment's artifact; gives up once another assignment than `current` comes, for
        a store that hangs must not hold up a rollback to a version that is cached."""
        started = time.monotonic()

        def goes_on() -> bool:
            wanted = self._assigned.wanted
            return not self.stopping and wanted is not None and wanted.assignment == current

        task = asyncio.create_task(asyncio.to_thread(self._artifacts.fetch, assignment, goes_on))
        changed = self._assigned.changed
        try:
            while not task.done():
                change = asyncio.create_task(changed.wait())
                await asyncio.wait({task, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                changed.clear()
                if not goes_on():
                    raise SupersededError
            fetched = task.result()
        except StoppedError as error:
            raise SupersededError from error
        finally:
            # A thread that waits for the store ends at its next piece; its result is not used.
            task.cancel()
        self._metrics.fetched(fetched.downloaded, time.monotonic() - started)
        return fetched

    async def _load(self, assignment: Assignment, fetched: Fetched) -> None:
        settings = self._hardware.settings(assignment)
        self.switching.set()
        try:
            swap = await load(
                self._triton,
                assignment,
                self._switcher.ensure(
                    assignment.version, fetched.manifest, fetched.model_file, settings
                ),
                advice=": see the log of the container triton",
            )
        finally:
            self.switching.clear()
        await self._served(assignment, swap)

    async def _served(self, assignment: Assignment, swap: Swap) -> None:
        name = swap.generation.name
        before = self._known.get(name)
        since = before.since if before and not swap.changed else timestamp(datetime.now(UTC))
        served = Served(assignment=assignment, generation=name, since=since)
        self._known = {name: served}
        if served != self._memory.served:
            await asyncio.to_thread(self._memory.remember, served)
        self._metrics.loaded(swap)
        await asyncio.to_thread(self._artifacts.evict)

    def _count(self, assignment: Assignment, error: Exception) -> None:
        found = failure(error)
        if found.reason is Reason.INTERNAL_ERROR:
            logger.exception("%s: unexpected error", assignment.model_version)
        self._failure = found
        self._retries.failed(found.cause, time.monotonic())
        self._metrics.failed(found.reason)
        logger.warning(
            "%s: try %d failed: %s",
            assignment.model_version, self._retries.failures, found.message,
        )  # fmt: skip

    def _say_failed(self, wanted: Wanted, found: Failure, serving: Serving | None) -> None:
        passing = found.passing and self._retries.failures < PATIENCE
        text = found.message
        if serving and "keeps serving" not in text:
            text = f"{text} (version {serving.generation.version} keeps serving)"
        self._say(
            wanted,
            Phase.FETCHING if passing else Phase.FAILED,
            found.reason,
            text,
            serving,
            stalled=not found.passing,
        )

    def _say(
        self,
        wanted: Wanted,
        phase: Phase,
        reason: Reason,
        message: str,
        serving: Serving | None,
        *,
        stalled: bool = False,
    ) -> None:
        report = Report(
            phase=phase,
            reason=reason,
            message=message,
            generation=wanted.generation,
            loaded=self._loaded(serving),
            failures=self._retries.failures,
            stalled=stalled,
        )
        if report != self.report:
            self.report = report
            self._metrics.serves(report.loaded)
            self._on_report()

    def _holds(self, serving: Serving | None, assignment: Assignment) -> bool:
        """Whether this assignment answers."""
        known = self._known.get(serving.generation.name) if serving else None
        return known is not None and known.assignment == assignment

    def _loaded(self, serving: Serving | None) -> LoadedVersion | None:
        """The serving version in the form of the status."""
        if serving is None:
            return None
        known = self._known.get(serving.generation.name)
        if known is not None:
            return LoadedVersion(
                model_version=known.assignment.model_version,
                version=known.assignment.version,
                digest=known.assignment.digest,
                manifest_digest=known.assignment.manifest_digest,
                content_digest=known.assignment.content_digest,
                pipeline=known.assignment.pipeline,
                since=known.since,
            )
        if serving.record is None:
            return None
        # Brought up by an agent whose memory is lost: the ModelVersion's name and content are not
        # known.
        return LoadedVersion(
            model_version=version_name(serving.generation.line, serving.generation.version),
            version=serving.generation.version,
            digest=serving.record.manifest.file.digest,
            pipeline=serving.record.settings.pipeline,
            since=self._started,
        )

    async def _finish_interrupted(self, serving: Serving | None) -> None:
        """An agent that was killed in the middle of a switch left models behind: once after the
        start, complete what it did."""
        if serving is not None:
            try:
                await self._switcher.recover()
            except SwitchError as error:
                logger.warning("an interrupted switch cannot be completed: %s", error)

    def _alternative(self, serving: Serving | None, assignment: Assignment) -> bool:
        """Whether something else answers, or could."""
        served = self._memory.served
        return serving is not None or (served is not None and served.assignment != assignment)
