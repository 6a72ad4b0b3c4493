"""Runs the agent's loops side by side, for as long as the pod lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from modelyard.api.modelserver import LoadedVersion
from modelyard.contract import control
from modelyard.serving.names import pipeline_name
from modelyard.serving.repository import Repository
from modelyard.serving.spool import Spool
from modelyard.serving.switch import Switcher
from modelyard.serving.triton import Triton, TritonError
from modelyard.store import Store
from modelyard.store.opening import Retries as StoreRetries
from modelyard.workloads.agent import probes
from modelyard.workloads.agent.apiserver import ApiError, ApiServer
from modelyard.workloads.agent.artifacts import ArtifactCache
from modelyard.workloads.agent.capture import Capture
from modelyard.workloads.agent.fetching import BackgroundFetch
from modelyard.workloads.agent.hardware import Hardware
from modelyard.workloads.agent.inuse import in_use
from modelyard.workloads.agent.loader import Loader
from modelyard.workloads.agent.memory import Memory
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.monitoring.building import build as build_monitor
from modelyard.workloads.agent.monitoring.clock import Clock
from modelyard.workloads.agent.prestage import Stager
from modelyard.workloads.agent.report import Reporter
from modelyard.workloads.agent.sampler import Sampler
from modelyard.workloads.agent.settings import AgentSettings
from modelyard.workloads.agent.shadow import Shadower
from modelyard.workloads.agent.status import Beside
from modelyard.workloads.agent.traffic import TrafficMeter
from modelyard.workloads.agent.watch import Assigned, Watch

logger = logging.getLogger(__name__)

_TRAFFIC_SECONDS = 2.0
_TRAFFIC_SECONDS_SWITCHING = 0.05
"""A version's counters vanish with it: they are read often while it may be unloaded."""
_STORE_RETRIES = StoreRetries(attempts=3, seconds=20)
"""Short: the agent retries itself, and reports that it does."""
_SILENCE_SECONDS = 1200.0
"""A loop without an iteration for this long hangs; a load may take 10 minutes."""


class Agent:
    """One serving pod's agent."""

    def __init__(self, settings: AgentSettings) -> None:
        run = settings.run
        self._settings = settings
        self._line = run.model_line
        self._stopping = asyncio.Event()
        self._rounds: dict[str, float] = {}
        self._metrics = Metrics(run.model_line, run.deployment, settings.node_name)
        self._memory = Memory(settings.cache, settings.namespace, run.deployment)
        self._meter = TrafficMeter(settings.cache, settings.pod_name)
        self._sampler = Sampler(settings.triton_metrics, run.model_line, self._loaded)
        self._assigned = Assigned()
        clock = Clock()
        self._api = ApiServer(
            f"https://{_host(settings.api_host)}:{settings.api_port}",
            settings.namespace,
            settings.credentials,
            on_time=clock.compare,
        )
        self._triton = Triton(settings.triton, control_key=settings.control_key)
        artifacts = ArtifactCache(
            settings.cache,
            Store.open(run.store, retries=_STORE_RETRIES),
            settings.cache_bytes,
            lambda: in_use(self._assigned, self._memory),
        )
        switcher = Switcher(
            Repository(settings.models, run.model_line),
            self._triton,
            before_switch=self._read_traffic,
        )
        hardware = Hardware.of(run, settings.control_key.parent / control.RUNTIME)
        self._loader = Loader(
            triton=self._triton,
            switcher=switcher,
            artifacts=artifacts,
            memory=self._memory,
            assigned=self._assigned,
            metrics=self._metrics,
            hardware=hardware,
            on_report=self._changed,
        )
        self._fetching = BackgroundFetch(artifacts, self._assigned, self._metrics)
        self._stager = Stager(
            fetching=self._fetching, assigned=self._assigned, on_report=self._changed
        )
        self._shadower = Shadower(
            triton=self._triton,
            switcher=switcher,
            spool=Spool(run.model_line, settings.spool),
            fetching=self._fetching,
            assigned=self._assigned,
            hardware=hardware,
            pending=lambda: self._sampler.pending,
            on_report=self._changed,
        )
        self._capture = Capture(
            settings,
            triton=self._triton,
            switcher=switcher,
            assigned=self._assigned,
            pending=lambda: self._sampler.pending,
            synchronised=clock.synchronised,
            on_report=self._changed,
        )
        self._monitor = build_monitor(
            settings,
            triton=self._triton,
            switcher=switcher,
            assigned=self._assigned,
            shadower=self._shadower,
            artifacts=artifacts,
            registry=self._metrics.registry,
            clock=clock,
            on_report=self._changed,
            offer=self._capture.offer,
        )
        self._reporter = Reporter(
            api=self._api,
            assigned=self._assigned,
            server_name=settings.server_name,
            pod_name=settings.pod_name,
            report=lambda: self._loader.report,
            beside=self._beside,
            written=self._meter.reported,
            every_seconds=run.report_seconds,
            heartbeat=run.edge,
            metrics=self._metrics,
        )
        self._watch = Watch(
            self._api,
            self._assigned,
            server_name=settings.server_name,
            deployment=run.deployment,
            remembered=self._memory.served.assignment if self._memory.served else None,
            on_error=self._metrics.api_error,
        )

    def stop(self) -> None:
        """Asks the agent to end: it changes nothing any more and waits for Triton."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs until `stop`. Raises OSError if the probes' port is taken."""
        app = probes.application(
            ready=self._ready,
            healthy=self._healthy,
            registry=self._metrics.registry,
            drift=self._monitor.recent,
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._api)
            stack.push_async_callback(self._triton.close)
            await stack.enter_async_context(
                probes.served(app, self._settings.probe_host, self._settings.probe_port)
            )
            loops = {
                "watch": self._watch.run,
                "load": self._load,
                "stage": self._stager.run,
                "shadow": self._shadower.run,
                "figures": self._sampler.run,
                "monitor": self._monitor.run,
                "capture": self._capture.run,
                "report": self._reporter.run,
                "traffic": self._count_traffic,
            }
            tasks = [asyncio.create_task(self._keep(n, loop)) for n, loop in loops.items()]
            try:
                await self._stopping.wait()
                await self._drain()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._monitor.save()
                await self._capture.drain()
            await self._last_report()

    def _changed(self) -> None:
        self._reporter.changed()

    def _beside(self) -> Beside:
        return Beside(
            staged=self._stager.report,
            shadow=self._shadower.report,
            history=tuple(self._memory.history),
            traffic=self._meter.report(),
            figures=self._sampler.figures(),
            drift=self._monitor.report,
            capture=self._capture.status,
        )

    def _loaded(self) -> LoadedVersion | None:
        """The version that serves."""
        report = self._loader.report
        return report.loaded if report else None

    async def _load(self) -> None:
        changed = self._assigned.changed
        while True:
            self._rounds["load"] = time.monotonic()
            delay = await self._loader.step()
            try:
                await asyncio.wait_for(changed.wait(), delay)
            except TimeoutError:
                continue
            changed.clear()

    async def _count_traffic(self) -> None:
        while True:
            self._rounds["traffic"] = time.monotonic()
            await self._read_traffic()
            switching = self._loader.switching
            if switching.is_set():
                await asyncio.sleep(_TRAFFIC_SECONDS_SWITCHING)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(switching.wait(), _TRAFFIC_SECONDS)

    async def _read_traffic(self) -> None:
        with contextlib.suppress(TritonError):  # the loader reports it
            self._meter.add(await self._triton.statistics(pipeline_name(self._line)))

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Runs a loop again if it fails: an agent that ends takes its pod out of the Service."""
        delay = 1.0
        while True:
            try:
                await loop()
            except Exception:
                self._metrics.internal_error()
                logger.exception("the %s loop failed and starts again", name)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311
            delay = min(2 * delay, 60.0)

    async def _ready(self) -> str:
        try:
            answers = await self._triton.model_ready(pipeline_name(self._line))
        except TritonError as error:
            self._metrics.answers(False)
            return str(error)
        self._metrics.answers(answers)
        return "" if answers else f"no version of {self._line} answers yet"

    def _healthy(self) -> str:
        now = time.monotonic()
        silent = [n for n, at in self._rounds.items() if now - at > _SILENCE_SECONDS]
        return f"these loops hang: {', '.join(silent)}" if silent else ""

    async def _drain(self) -> None:
        """Keeps answering probes and counting while Triton finishes.

        Both containers are asked to stop at the same moment; Triton's preStop hook lets it answer
        until routes are gone, then it ends by itself. An agent that alone is asked to stop does
        not wait for ever.
        """
        logger.info("asked to stop: waiting for Triton to end")
        self._loader.stopping = self._shadower.stopping = self._fetching.stopping = True
        self._monitor.stopping = True
        deadline = time.monotonic() + self._settings.drain_seconds
        # Another process, which sends no event.
        while time.monotonic() < deadline and await self._triton.ready():  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def _last_report(self) -> None:
        try:
            await asyncio.wait_for(self._reporter.write(measured=True), 3)
        except (ApiError, OSError) as error:
            logger.info("no last report: %s", error)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host or "kubernetes.default.svc"
