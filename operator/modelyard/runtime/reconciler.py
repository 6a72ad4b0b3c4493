"""Reconciles one key: observe, decide, execute, and handle failures.

engine.py runs its workers on it. Decisions are in core/, writes in executor.py, and failures.py
says what each error means.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from modelyard.core.plan import Apply, Controller, Key, KubeObject, MetricQuery, Plan
from modelyard.core.settings import Settings
from modelyard.kube.cache import Cache
from modelyard.kube.errors import ApiError
from modelyard.kube.status import stalled_reason, with_stalled, without_stalled
from modelyard.runtime.backoff import Backoff
from modelyard.runtime.budget import Budget
from modelyard.runtime.executor import Executor
from modelyard.runtime.failures import REASONS, Failure, NotLeading, classify
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.queue import KeyedQueue
from modelyard.runtime.writelog import WriteLog

log = logging.getLogger(__name__)

CONDITIONS = "conditions"
DECISION_SECONDS = 1.0
"""CPU time of a decision. One usually takes milliseconds; the first ones about a fleet of thousands
may take longer. An object that takes it all is not tried again for a minute."""
LATE_SECONDS = 1.0
"""Delay before a reconcile that found the Lease expired is tried again."""


class Reconciler:
    """Runs the controllers' decisions."""

    def __init__(
        self,
        controllers: Sequence[Controller],
        settings: Settings,
        *,
        cache: Cache,
        queue: KeyedQueue,
        executor: Executor,
        metrics: Metrics,
        now: Callable[[], datetime],
        ask: Callable[[Key, Sequence[MetricQuery]], None],
        backoff: Backoff | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._controllers = {c.kind: c for c in controllers}
        self._settings = settings
        self._cache = cache
        self._queue = queue
        self._executor = executor
        self._metrics = metrics
        self._now = now
        self._ask = ask
        self._backoff = backoff or Backoff()
        self._budget = budget or Budget(DECISION_SECONDS)
        self._logged: dict[Key, str] = {}
        """The last failure logged for each key, so that each is logged once."""
        self._stalled: dict[Key, str] = {}
        """Reason of the Stalled condition of each object that has one, for the metrics."""

    async def reconcile(self, key: Key) -> None:
        """Reconcile an object. Raises nothing except for cancellation."""
        started = time.perf_counter()
        obj = self._cache.get(key.kind, key.namespace, key.name)
        if obj is None:
            self._forget(key)
            self._stalled.pop(key, None)
            return
        controller = self._controllers[key.kind]
        writes = WriteLog()
        result = "ok"
        try:
            now = self._now()
            plan = self._decide(controller, obj, now)
            self._ask(key, plan.queries if isinstance(plan, Apply) else ())
            finished = await self._executor.run(controller, obj, plan, now, writes)
        except NotLeading:
            result = "not_leading"
            # If the Lease is renewed late, the term continues, and this reconcile is still due. If
            # the term ends, the queue is cleared.
            self._queue.add(key, LATE_SECONDS)
        except Exception as error:
            result = await self._failed(key, controller, obj, error, writes)
        else:
            self._forget(key)
            if not finished:
                # Create children of other objects first; their statuses can wait.
                self._queue.defer(key)
            elif isinstance(plan, Apply) and plan.requeue_after is not None:
                self._queue.add(key, plan.requeue_after)
        seconds = time.perf_counter() - started
        self._metrics.reconciled(key.kind, result, seconds)
        self._note_stalled(key)
        if writes.entries:
            log.info(
                "reconciled",
                extra={
                    **_fields(key, obj),
                    "wrote": writes.summary(),
                    "seconds": round(seconds, 4),
                },
            )

    def _decide(self, controller: Controller, obj: KubeObject, now: datetime) -> Plan:
        """Advance the aggregates to `now`, observe, decide."""
        if controller.advance is not None:
            controller.advance(self._cache, obj, now)
        # Only the decision is pure, and may be ended at any instruction.
        observed = controller.observe(self._cache, obj, self._settings)
        plan = self._budget.run(lambda: controller.decide(observed, now))
        if isinstance(plan, Apply) and plan.status is None:
            return replace(plan, status=self._recovered(controller, obj))
        return plan

    def _recovered(self, controller: Controller, obj: KubeObject) -> KubeObject | None:
        """For a plan without a status: the current one without a failure that the engine set."""
        return None if CONDITIONS in controller.pod_owned_fields else without_stalled(obj, REASONS)

    async def _failed(
        self,
        key: Key,
        controller: Controller,
        obj: KubeObject,
        error: Exception,
        writes: WriteLog,
    ) -> str:
        failure = classify(error)
        delay = self._backoff.failed(key, failure.at_least)
        count = self._backoff.failures(key)
        if failure.result == "outdated" and count <= 3:
            self._queue.release(key)
            self._queue.add(key)
            return failure.result
        self._queue.back_off(key, delay)
        self._log(key, obj, failure, error, delay)
        if failure.reason and count > failure.tolerated:
            await self._show_failure(key, controller, failure, writes)
        return failure.result

    async def _show_failure(
        self, key: Key, controller: Controller, failure: Failure, writes: WriteLog
    ) -> None:
        """Set Stalled in the object's status, if the operator owns its conditions."""
        obj = self._cache.get(key.kind, key.namespace, key.name)
        if obj is None or CONDITIONS in controller.pod_owned_fields:
            return
        status = with_stalled(obj, failure.reason, failure.message, self._now())
        try:
            await self._executor.write_status(controller, obj, status, writes)
        except NotLeading:
            pass
        except Exception as error:
            log.warning("cannot show a failure: %s", error, extra=_fields(key, obj))

    def _log(
        self, key: Key, obj: KubeObject, failure: Failure, error: Exception, delay: float
    ) -> None:
        text = f"{failure.result}: {type(error).__name__}: {error}"
        if self._logged.get(key) == text:
            return
        self._logged[key] = text
        extra = {**_fields(key, obj), "retry_seconds": round(delay, 1)}
        if failure.unexpected:
            log.error("reconcile failed: %s", text, extra=extra, exc_info=error)
        elif failure.reason or not isinstance(error, ApiError):
            log.warning("reconcile failed: %s", text, extra=extra)
        else:
            log.info("reconcile failed: %s", text, extra=extra)

    def retrying(self) -> Counter[str]:
        """Number of objects by kind whose last reconcile failed."""
        return Counter(key.kind for key in self._backoff)

    def stalled(self) -> Counter[tuple[str, str]]:
        """Number of objects with Stalled=True by kind and reason."""
        return Counter((key.kind, reason) for key, reason in self._stalled.items())

    def clear(self) -> None:
        """Forget all failures: another replica leads now."""
        self._backoff.clear()
        self._stalled.clear()
        self._logged.clear()

    def _note_stalled(self, key: Key) -> None:
        obj = self._cache.get(key.kind, key.namespace, key.name)
        reason = None if obj is None else stalled_reason(obj)
        if reason is None:
            self._stalled.pop(key, None)
        else:
            self._stalled[key] = reason

    def _forget(self, key: Key) -> None:
        self._backoff.succeeded(key)
        self._queue.release(key)
        self._logged.pop(key, None)


def _fields(key: Key, obj: KubeObject) -> dict[str, object]:
    return {
        "kind": key.kind,
        "namespace": key.namespace,
        "object": key.name,
        "generation": obj["metadata"].get("generation", 0),
    }
