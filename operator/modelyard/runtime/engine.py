"""The engine: events go into the cache and the queue, workers reconcile while the Lease is held.

An event updates cache.py, routing.py turns the change into keys, queue.py orders them, and workers
pass each to reconciler.py. leadership.py starts and ends a term; resync.py lists everything at its
start and from time to time. handlers/process.py makes the engine and handlers/kopf_adapter.py feeds
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from modelyard.core.plan import Controller, Key
from modelyard.kube.api import Api, Object
from modelyard.kube.cache import Change
from modelyard.kube.client import NO_ANSWER
from modelyard.kube.errors import ApiError
from modelyard.runtime import gauges
from modelyard.runtime.executor import Executor
from modelyard.runtime.leadership import Leadership, run_until
from modelyard.runtime.lease import Lease
from modelyard.runtime.loop_thread import LoopThread
from modelyard.runtime.metric_queries import MetricQueries
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.queue import KeyedQueue
from modelyard.runtime.reconciler import Reconciler
from modelyard.runtime.resync import Resync
from modelyard.runtime.routing import Router
from modelyard.runtime.settings import EngineSettings
from modelyard.runtime.storeusage import StoreUsage
from modelyard.runtime.watches import Watches

log = logging.getLogger(__name__)

DRAIN_SECONDS = 3.0
"""Maximum time for writes in flight to finish when the process stops."""
RETRY_SECONDS = 1.0


class Engine:
    """Runs a set of controllers. `on_event` and `watches` are fed from outside."""

    def __init__(
        self,
        controllers: Sequence[Controller],
        settings: EngineSettings,
        api: Api,
        metrics: Metrics,
        *,
        lease_api: Api,
        lease_thread: LoopThread,
        absent: Collection[str] = (),
    ) -> None:
        """`lease_api` is used in `lease_thread` only. `absent` are kinds of Controller.optional
        that the cluster does not serve."""
        self.kinds = Router.watched(controllers, absent)
        self.metrics = metrics
        self.watches = Watches(self.kinds)
        self.watches.on_relist = self._relisted
        self.watches.on_failure = self._watch_failed
        self.cache = Router.make_cache(controllers, absent)
        self.queue = KeyedQueue()
        identity = settings.replica()
        self._lease = Lease.of(lease_api, settings, identity)
        self.leadership = Leadership(
            self._lease,
            lease_thread,
            term=self._lead,
            ended=self._stand_by,
            failed=metrics.lease_failed,
        )
        self._settings = settings
        self._controllers = controllers
        self._router = Router(controllers, self.cache)
        self._resync = Resync(api, self.cache, metrics, put=self._put, drop=self._drop)
        self.queries = MetricQueries(
            settings.prometheus(), wake=self._wake, on_query=metrics.queried
        )
        self.cache.answers = self.queries.answer
        self._reconciler = self._make_reconciler(api, identity)
        self._synced = False
        self._resync_requested = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_resync = time.monotonic()
        """When everything was last listed (or, before that, when the engine was made)."""
        self._store_usage = StoreUsage(api, settings.own_namespace(), settings.store_report)
        self._store_usage.register(metrics)
        gauges.register(self, metrics, self._reconciler, settings.resync_seconds)

    def _make_reconciler(self, api: Api, identity: str) -> Reconciler:
        executor = Executor(
            api,
            self.cache,
            leading=self.leadership.may_write,
            put=self._put,
            drop=self._drop,
            instance=identity,
        )
        return Reconciler(
            self._controllers,
            self._settings.for_decisions(),
            cache=self.cache,
            queue=self.queue,
            executor=executor,
            ask=self.queries.ask,
            metrics=self.metrics,
            now=lambda: datetime.now(UTC),
        )

    # Events.

    def on_event(self, kind: str, event: str, obj: Object) -> None:
        """Process a watch event (ADDED, MODIFIED, DELETED) of a watched kind."""
        if event == "DELETED":
            self._drop(obj["metadata"]["uid"])
        else:
            self._put(kind, obj)

    def _put(self, kind: str, obj: Object) -> bool:
        return self._route(self.cache.put(kind, obj))

    def _drop(self, uid: str) -> bool:
        return self._route(self.cache.drop(uid))

    def _route(self, change: Change | None) -> bool:
        if change is None:
            return False
        if self.leading:
            own = self._router.own_key(change) if change.user_changed else None
            if own is not None:
                self.queue.release(own)  # After a spec change, do not wait for the backoff.
            for key in self._router.keys(change):
                # Changes by users go before changes of children.
                self.queue.add(key, urgent=key == own)
            for key in change.keys - {own}:
                self.queue.add(key, self._router.delay(key))
        return True

    def _wake(self, key: Key, delay: float) -> None:
        if self.leading:
            self.queue.add(key, delay)

    def resync(self) -> None:
        """List and reconcile everything as soon as possible, if this replica leads."""
        self._resync_requested.set()

    # Leading.

    @property
    def leading(self) -> bool:
        """Whether this replica reconciles."""
        return self.leadership.leading

    @property
    def controllers(self) -> Sequence[Controller]:
        """The controllers that this engine runs."""
        return self._controllers

    @property
    def reconciled(self) -> list[str]:
        """Kinds that this engine's controllers reconcile."""
        return [controller.kind for controller in self._controllers]

    @property
    def synced(self) -> bool:
        """Whether this replica leads and has listed everything."""
        return self._synced

    async def run(self, stop: asyncio.Event) -> None:
        """Campaign for the Lease and lead while it is held, until `stop` is set.

        Then wait for writes in flight, and release the Lease.
        """
        await run_until(stop, self.watches.wait())
        await self.leadership.run(stop)
        self.queue.close()
        await self.leadership.resign(self.queue.idle(), DRAIN_SECONDS)
        await self.queries.close()
        log.info("stopped")

    async def _lead(self) -> None:
        """One term: list everything, then run the workers and the regular resync."""
        await self._sync()
        self._synced = True
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.workers):
                group.create_task(self._work(), name=f"worker {number}")
            group.create_task(self._resync_forever(), name="resync")
            if self._settings.store_report:
                group.create_task(self._store_usage.run(), name="store usage")

    def _stand_by(self) -> None:
        self._synced = False
        for task in self._tasks:
            task.cancel()
        self.queue.clear()
        self.queries.clear()
        self._reconciler.clear()

    async def _sync(self) -> None:
        """List everything, no older than our acquisition of the Lease, so that no write of the
        previous leader is missing; then queue every object."""
        started = time.monotonic()
        logged = ""
        while True:
            try:
                await self._resync.all(self.kinds, at_least=self._lease.version)
                break
            except ApiError as error:
                if str(error) != logged:
                    log.warning("cannot list, tries again: %s", error)
                    logged = str(error)
                await asyncio.sleep(RETRY_SECONDS)
        self.last_resync = time.monotonic()
        keys = self._all_keys()
        for key in keys:
            self.queue.add(key)
        seconds = round(self.last_resync - started, 3)
        log.info("synced", extra={"objects": len(keys), "seconds": seconds})

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconciler.reconcile(key)
            finally:
                self.queue.done(key)
            # A reconcile that writes nothing awaits nothing, and neither does `get` while keys are
            # due: events, probes and other workers have their turn here.
            await asyncio.sleep(0)

    async def _resync_forever(self) -> None:
        period = self._settings.resync_seconds
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await self._resync_requested.wait()
            requested = self._resync_requested.is_set()
            self._resync_requested.clear()
            try:
                wrong = await self._resync.all(self.kinds)
            except ApiError as error:
                log.warning("resync failed: %s", error)
                if requested:
                    self._resync_requested.set()
                    await asyncio.sleep(RETRY_SECONDS)
                continue
            except asyncio.CancelledError:
                if requested:
                    # The Lease is lost: leave the request to the next term.
                    self._resync_requested.set()
                raise
            self.last_resync = time.monotonic()
            if wrong:
                log.warning("resync found the cache out of date", extra={"objects": wrong})
            spread = 0.0 if requested else period / 10
            for key in self._all_keys():
                self.queue.add(key, random.uniform(0, spread))  # noqa: S311 - jitter
            self.metrics.resynced()

    def _relisted(self, kind: str) -> None:
        self.metrics.relisted(kind)
        if self._synced:
            task = asyncio.create_task(self._list_again(kind), name=f"list {kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _watch_failed(self, kind: str, status: int) -> None:
        self.metrics.watch_failed(kind, str(status or NO_ANSWER))

    async def _list_again(self, kind: str) -> None:
        """List a kind after its watch was lost, since events may have been missed."""
        logged = ""
        while self._synced:
            try:
                await self._resync.one(kind)
                return
            except ApiError as error:
                if str(error) != logged:
                    log.warning("cannot list %s, tries again: %s", kind, error)
                    logged = str(error)
                await asyncio.sleep(RETRY_SECONDS)

    def _all_keys(self) -> list[Key]:
        return [
            Key(c.kind, *place) for c in self._controllers for place in self.cache.names(c.kind)
        ]
