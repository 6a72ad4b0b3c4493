"""The engine: events go into the cache and the queue, workers reconcile while the Lease is held."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from modelyard.core.plan import Controller, Key
from modelyard.kube.api import Api, Object
from modelyard.kube.cache import Cache, Change
from modelyard.kube.errors import ApiError
from modelyard.runtime.executor import Executor
from modelyard.runtime.lease import Lease
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.queue import KeyedQueue
from modelyard.runtime.reconciler import Reconciler
from modelyard.runtime.resync import Resync
from modelyard.runtime.routing import Router
from modelyard.runtime.settings import EngineSettings
from modelyard.runtime.watches import Watches

log = logging.getLogger(__name__)

DRAIN_SECONDS = 3.0
"""Time that writes in flight get to finish when the process stops."""
RETRY_SECONDS = 1.0
RELIST_DELAY = 0.5


class Engine:
    """Runs a set of controllers. `on_event` and `watches` are fed from outside."""

    def __init__(
        self,
        controllers: Sequence[Controller],
        settings: EngineSettings,
        api: Api,
        metrics: Metrics,
    ) -> None:
        self.kinds = Router.watched(controllers)
        self.metrics = metrics
        self.watches = Watches(self.kinds)
        self.watches.on_relist = self._relisted
        indexes = {name: index for c in controllers for name, index in c.indexes.items()}
        self.cache = Cache(self.kinds, indexes, keep_old=Router.mapped(controllers))
        self.queue = KeyedQueue()
        identity = settings.replica()
        self.lease = Lease(
            api,
            namespace=settings.own_namespace(),
            name=settings.lease_name,
            identity=identity,
            seconds=settings.lease_seconds,
        )
        self._settings = settings
        self._controllers = controllers
        self._router = Router(controllers, self.cache)
        self._resync = Resync(api, self.cache, metrics, absorb=self._absorb, vanish=self._vanish)
        executor = Executor(
            api,
            self.cache,
            leading=self._may_write,
            absorb=self._absorb,
            vanish=self._vanish,
            instance=identity,
        )
        self._reconciler = Reconciler(
            controllers,
            settings.for_decisions(),
            cache=self.cache,
            queue=self.queue,
            executor=executor,
            metrics=metrics,
            now=lambda: datetime.now(UTC),
        )
        self._term: asyncio.Task[None] | None = None
        """The task that leads; None while this replica stands by."""
        self._synced = False
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_resync = time.monotonic()
        """When everything was last listed (or, before that, when the engine was made)."""
        self.last_answer = 0.0
        """When the API server last answered about the Lease."""
        self._register()

    # Events.

    def on_event(self, kind: str, event: str | None, obj: Object) -> None:
        """Take in a watch event (ADDED, MODIFIED, DELETED) of a watched kind."""
        if event == "DELETED":
            self._vanish(obj["metadata"]["uid"])
        else:
            self._absorb(kind, obj)

    def _absorb(self, kind: str, obj: Object) -> bool:
        return self._route(self.cache.put(kind, obj))

    def _vanish(self, uid: str) -> bool:
        return self._route(self.cache.drop(uid))

    def _route(self, change: Change | None) -> bool:
        if change is None:
            return False
        if self.leading:
            if change.respecified:
                own = self._router.own_key(change)
                if own is not None:
                    self.queue.release(own)  # A new spec deserves a try at once.
            for key in self._router.keys(change):
                self.queue.add(key)
        return True

    # Leading.

    @property
    def leading(self) -> bool:
        """Whether this replica reconciles."""
        return self._term is not None

    @property
    def synced(self) -> bool:
        """Whether this replica leads and has listed everything."""
        return self._synced

    def _may_write(self) -> bool:
        return self._term is not None and self.lease.held and not self._stopping

    async def run(self, stop: asyncio.Event) -> None:
        """Campaign for the Lease and lead while it is held, until `stop` is set.

        Then lets writes in flight finish, and gives the Lease up.
        """
        await self._until(stop, self.watches.wait())
        while not stop.is_set():
            await self._campaign()
            if self.lease.held and self._term is None:
                log.info("leading", extra={"identity": self.lease.identity})
                self._term = asyncio.create_task(self._lead(stop), name="leader")
            elif not self.lease.held and self._term is not None:
                log.warning("no longer leading: the Lease was not renewed in time")
                await self._step_down()
            if self._term is not None and self._term.done():
                await self._term  # Only a bug ends it: let the process end with it.
            pause = self._settings.lease_seconds / 4 * random.uniform(0.8, 1.0)  # noqa: S311
            await self._until(stop, asyncio.sleep(pause))
        await self._stop()

    async def _campaign(self) -> None:
        try:
            async with asyncio.timeout(self._settings.lease_seconds / 2):
                await self.lease.attempt()
        except (ApiError, TimeoutError) as error:
            log.warning("cannot renew the Lease: %s", error or "the API server is too slow")
        else:
            self.last_answer = time.monotonic()

    async def _lead(self, stop: asyncio.Event) -> None:
        """Sync, then reconcile, with a resync now and then."""
        await self._sync()
        self._synced = True
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.workers):
                group.create_task(self._work(stop), name=f"worker {number}")
            group.create_task(self._resync_forever(), name="resync")

    async def _sync(self) -> None:
        """List everything as of after the Lease was taken, so that nothing that a holder before
        us wrote is missing; then queue every object."""
        started = time.monotonic()
        while True:
            try:
                await self._resync.all(self.kinds, at_least=self.lease.version)
                break
            except ApiError as error:
                log.warning("cannot list: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        self.last_resync = time.monotonic()
        keys = self._all_keys()
        for key in keys:
            self.queue.add(key)
        seconds = round(self.last_resync - started, 3)
        log.info("synced", extra={"objects": len(keys), "seconds": seconds})

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            key = await self.queue.get()
            try:
                if not stop.is_set():
                    await self._reconciler.reconcile(key)
            finally:
                self.queue.done(key)

    async def _resync_forever(self) -> None:
        period = self._settings.resync_seconds
        while True:
            await asyncio.sleep(period * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                wrong = await self._resync.all(self.kinds)
            except ApiError as error:
                log.warning("resync failed: %s", error)
                continue
            self.last_resync = time.monotonic()
            if wrong:
                log.warning("resync found the cache out of date", extra={"objects": wrong})
            for key in self._all_keys():
                self.queue.add(key, random.uniform(0, period / 10))  # noqa: S311 - jitter

    def _relisted(self, kind: str) -> None:
        self.metrics.relisted(kind)
        if self._synced:
            task = asyncio.create_task(self._refill(kind), name=f"refill {kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refill(self, kind: str) -> None:
        """After a lost watch: objects may have come, changed or gone unseen."""
        while self._synced:
            try:
                await self._resync.one(kind)
                return
            except ApiError as error:
                log.warning("cannot list %s: %s", kind, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _all_keys(self) -> list[Key]:
        return [
            Key(c.kind, *place) for c in self._controllers for place in self.cache.names(c.kind)
        ]

    async def _step_down(self) -> None:
        term, self._term, self._synced = self._term, None, False
        if term is not None:
            term.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await term
        self.queue.clear()

    async def _stop(self) -> None:
        self._stopping = True  # A write in flight is finished, the rest is left to the next run.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.queue.idle()
        await self._step_down()
        for task in list(self._tasks):
            task.cancel()
        try:
            async with asyncio.timeout(1):
                await self.lease.release()
        except (ApiError, TimeoutError) as error:
            log.warning("cannot give the Lease up: %s", error or "the API server is too slow")
        log.info("stopped")

    @staticmethod
    async def _until(stop: asyncio.Event, work: object) -> None:
        """Wait for the work or for `stop`, whichever comes first."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]  # type: ignore[call-overload]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    # Figures.

    def _register(self) -> None:
        gauge = self.metrics.gauge
        gauge("modelyard_queue_depth", "Keys in the queue.", lambda: float(len(self.queue)))
        gauge(
            "modelyard_queue_due", "Keys that wait for a worker.", lambda: float(self.queue.due())
        )
        gauge(
            "modelyard_queue_oldest_seconds",
            "Time that the longest waiting due key has waited.",
            self.queue.oldest,
        )
        gauge("modelyard_leading", "1 while this replica reconciles.", lambda: float(self.leading))
        gauge("modelyard_synced", "1 while the cache is complete.", lambda: float(self.synced))
        gauge(
            "modelyard_resync_age_seconds",
            "Time since everything was last listed.",
            lambda: time.monotonic() - self.last_resync,
        )
        self.metrics.gauge_by_kind(
            "modelyard_cache_objects",
            "Objects in the cache.",
            lambda: [(kind, float(self.cache.count(kind))) for kind in self.kinds],
        )
