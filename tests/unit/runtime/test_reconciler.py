"""What becomes of a key when its reconcile ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modelyard.core.plan import Apply, Controller, Key
from modelyard.core.settings import Settings
from modelyard.kube.cache import Cache
from modelyard.runtime.failures import NotLeading
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.queue import KeyedQueue
from modelyard.runtime.reconciler import LATE_SECONDS, Reconciler

KEY = Key("Dataset", "shop", "shelf")


class LeaseRunOut:
    """An executor whose writes find the Lease run out."""

    async def run(self, *_: Any) -> bool:
        raise NotLeading


class Idle:
    """An executor that finds nothing to write."""

    async def run(self, *_: Any) -> bool:
        return True


async def test_time_is_told_to_aggregates_before_an_object_is_observed() -> None:
    told: list[str] = []
    at = datetime(2026, 11, 22, tzinfo=UTC)
    cache = Cache(["Dataset"])
    metadata = {"namespace": "shop", "name": "shelf", "uid": "u", "resourceVersion": "1"}
    cache.put("Dataset", {"metadata": metadata, "spec": {}})
    controller = Controller(
        kind="Dataset",
        advance=lambda view, obj, now: told.append(f"advance to {now:%F}"),
        observe=lambda view, obj, settings: told.append("observe"),
        decide=lambda obj, now: told.append(f"decide at {now:%F}") or Apply(),  # type: ignore[func-returns-value]
    )
    reconciler = Reconciler(
        [controller],
        Settings(),
        cache=cache,
        queue=KeyedQueue(clock=lambda: 0.0),
        executor=Idle(),  # type: ignore[arg-type]
        ask=lambda key, queries: None,
        metrics=Metrics(),
        now=lambda: at,
    )
    await reconciler.reconcile(KEY)
    assert told == ["advance to 2026-11-22", "observe", "decide at 2026-11-22"]


async def test_what_a_late_renewal_kept_from_being_written_is_tried_again() -> None:
    now = 0.0
    queue = KeyedQueue(clock=lambda: now)
    cache = Cache(["Dataset"])
    metadata = {"namespace": "shop", "name": "shelf", "uid": "u", "resourceVersion": "1"}
    cache.put("Dataset", {"metadata": metadata, "spec": {}})
    controller = Controller(
        kind="Dataset", observe=lambda view, obj, settings: obj, decide=lambda obj, at: Apply()
    )
    reconciler = Reconciler(
        [controller],
        Settings(),
        cache=cache,
        queue=queue,
        executor=LeaseRunOut(),  # type: ignore[arg-type]
        ask=lambda key, queries: None,
        metrics=Metrics(),
        now=lambda: datetime.now(UTC),
    )
    queue.add(KEY)
    assert queue.pop() == KEY
    await reconciler.reconcile(KEY)
    queue.done(KEY)
    assert queue.pop() is None
    now += LATE_SECONDS
    assert queue.pop() == KEY
