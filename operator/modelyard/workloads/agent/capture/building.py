"""Capture as the agent runs it: its parts put together, and fed by the monitoring loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from modelyard.api.monitoring import CaptureStatus, ServerCapture
from modelyard.contract.naming import version_name
from modelyard.contract.statustext import truncate
from modelyard.serving.draws import Draw
from modelyard.serving.repository import Record
from modelyard.serving.switch import Serving as Switched
from modelyard.serving.switch import Switcher
from modelyard.serving.triton import Triton, TritonUnavailableError
from modelyard.store import StoreError
from modelyard.store.presigning import origin
from modelyard.workloads.agent.capture.capturer import Capturer
from modelyard.workloads.agent.capture.faces import FaceDetector
from modelyard.workloads.agent.capture.network import ServingNetwork
from modelyard.workloads.agent.capture.offers import Identity, Offered, Serving
from modelyard.workloads.agent.capture.redaction import Redactor
from modelyard.workloads.agent.capture.spool import CaptureSpool
from modelyard.workloads.agent.capture.uploading import Intake, IntakeClient, Uploader
from modelyard.workloads.agent.settings import AgentSettings
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)

FOLDER = "captures"
"""Folder in the agent's cache."""
_SERVING_SECONDS = 2.0
"""How long the serving version is cached."""
_RETRY_SECONDS = 60.0


class Capture:
    """Captures of the agent's server."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        triton: Triton,
        switcher: Switcher,
        assigned: Assigned,
        pending: Callable[[], float],
        synchronised: Callable[[], bool | None],
        on_report: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`pending` returns the number of requests queued in Triton."""
        self._settings = settings
        self._triton = triton
        self._switcher = switcher
        self._assigned = assigned
        self._pending = pending
        self._synchronised = synchronised
        self._on_report = on_report
        self._clock = clock
        self._serving: Switched | None = None
        self._serving_due = 0.0
        self._capturer: Capturer | None = None
        self._spool: CaptureSpool | None = None
        self._failure: str | None = None

    async def run(self) -> None:
        """Works until cancelled."""
        while self._capturer is None:
            try:
                self._capturer = await asyncio.to_thread(self._build)
            except OSError as error:
                self._failure = (
                    f"SpoolFull: {self._settings.cache} cannot be written ({error.strerror}): make "
                    "room on the volume of the agent's cache"
                )
                self._on_report()
                await asyncio.sleep(_RETRY_SECONDS)
        self._failure = None
        await self._capturer.run()

    async def offer(self, draw: Draw, _observed: object, drifting: bool) -> None:
        """Takes a drawn request into consideration; never fails."""
        if self._capturer is None or self._capture_settings() is None:
            return
        serving = await self._look_up()
        if serving is None or serving.generation.name != draw.generation:
            return
        answer = draw.answer
        offered = Offered(
            image=draw.image,
            version=answer.version,
            boxes=answer.boxes,
            scores=answer.scores,
            classes=answer.classes,
            time=draw.time,
            source=draw.source,
            milliseconds=answer.milliseconds,
            top_score=answer.top_score,
            requests=draw.requests,
            clock_synchronised=self._synchronised(),
        )
        await self._capturer.offer(offered, drifting=drifting)

    async def drain(self) -> None:
        """The pod ends."""
        if self._capturer is not None:
            await self._capturer.drain()

    @property
    def status(self) -> CaptureStatus | None:
        """For the ModelServer; None while nothing is captured."""
        if self._failure is not None and self._wanted() is not None:
            return CaptureStatus(failure=truncate(self._failure, 256))
        return self._capturer.status if self._capturer is not None else None

    def _build(self) -> Capturer:
        settings, run = self._settings, self._settings.run
        spool = CaptureSpool(settings.cache / FOLDER)
        self._spool = spool
        network = ServingNetwork(self._triton, run.model_line, self._record, self._pending)
        uploader = Uploader(
            spool,
            self._intake(),
            server=settings.server_name,
            durable=run.durable_cache,
            clock=self._clock,
        )
        capturer = Capturer(
            identity=Identity(
                settings.namespace, run.deployment, settings.server_name, settings.node_name
            ),
            spool=spool,
            settings=self._capture_settings,
            serving=self._answering,
            redactor=Redactor(FaceDetector(), network),
            uploader=uploader,
            clock=self._clock,
            on_report=self._on_report,
        )
        uploader.name = capturer.bundle_name
        return capturer

    def _intake(self) -> Intake | None:
        run = self._settings.run
        if run.intake is None:
            return None
        try:
            return IntakeClient(run.intake, origin(run.store), self._settings.server_name)
        except StoreError as error:
            logger.error("captures cannot be uploaded: %s", error)
            return None

    def _capture_settings(self) -> ServerCapture | None:
        spool = self._spool
        if spool is None:
            return None
        if self._assigned.server is None:
            return spool.state.settings  # not read yet: what it said when the agent ran last
        wanted = self._wanted()
        if wanted != spool.state.settings:
            spool.state.settings = wanted
        return wanted

    def _wanted(self) -> ServerCapture | None:
        monitoring = self._assigned.monitoring
        return monitoring.capture if monitoring is not None else None

    def _record(self) -> Record | None:
        return self._serving.record if self._serving else None

    def _answering(self) -> Serving | None:
        record = self._record()
        if record is None:
            return None
        return Serving(
            model_version=version_name(self._settings.run.model_line, record.version),
            version=record.version,
            digest=record.manifest.file.digest,
            classes=tuple(record.manifest.classes),
            confidence=record.settings.pipeline.confidence,
        )

    async def _look_up(self) -> Switched | None:
        """What serves, cached for a moment."""
        now = time.monotonic()
        if now >= self._serving_due:
            try:
                self._serving = await self._switcher.serving()
            except TritonUnavailableError:
                self._serving = None
            self._serving_due = now + _SERVING_SECONDS
        return self._serving
