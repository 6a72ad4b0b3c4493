"""Gauges of the engine's state and of objects, computed when Prometheus scrapes /metrics.

Counters and histograms, which are updated as things happen, are in metrics.py.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from modelyard.core.plan import ObjectGauge
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.reconciler import Reconciler

if TYPE_CHECKING:
    from modelyard.runtime.engine import Engine

log = logging.getLogger(__name__)


def register(
    engine: Engine, metrics: Metrics, reconciler: Reconciler, resync_seconds: float
) -> None:
    """Add the gauges of an engine to its metrics."""
    _leadership(engine, metrics)
    _queue(engine, metrics)
    _views(engine, metrics, resync_seconds)
    for controller in engine.controllers:
        for gauge in controller.gauges:
            _of_objects(engine, metrics, controller.kind, gauge)

    def retrying() -> list[tuple[str, float]]:
        found = reconciler.retrying()
        return [(kind, float(found[kind])) for kind in engine.reconciled]

    metrics.gauge_by_kind(
        "modelyard_retrying_objects",
        "Objects whose last reconcile failed; they are tried again.",
        retrying,
    )
    metrics.labelled_gauge(
        "modelyard_stalled_objects",
        "Objects with the condition Stalled=True, by its reason.",
        ("kind", "reason"),
        lambda: [(labels, float(n)) for labels, n in reconciler.stalled().items()],
    )


def _of_objects(engine: Engine, metrics: Metrics, kind: str, gauge: ObjectGauge) -> None:
    """One gauge for all objects of a kind; only the leader exposes its series."""

    def read() -> list[tuple[tuple[str, ...], float]]:
        if not engine.leading:
            return []
        found = []
        for namespace, name in engine.cache.names(kind):
            obj = engine.cache.get(kind, namespace, name)
            try:
                values = list(gauge.values(obj)) if obj is not None else []
            except Exception:
                log.exception("%s of %s %s/%s is unknown", gauge.name, kind, namespace, name)
                continue
            found += [((namespace, name, *labels), value) for labels, value in values]
        return found

    # Prometheus gives every series of a target its own `namespace` and `job`.
    labels = ("object_namespace", "object", *gauge.labels)
    metrics.labelled_gauge(gauge.name, gauge.text, labels, read)


def _leadership(engine: Engine, metrics: Metrics) -> None:
    started = time.monotonic()
    metrics.gauge(
        "modelyard_leading", "1 while this replica reconciles.", lambda: float(engine.leading)
    )
    metrics.gauge(
        "modelyard_synced",
        "1 while this replica leads and has listed everything.",
        lambda: float(engine.synced),
    )
    metrics.gauge(
        "modelyard_lease_answer_age_seconds",
        "Time since the API server last answered about the Lease, or since the start.",
        lambda: time.monotonic() - max(started, engine.leadership.last_answer),
    )


def _queue(engine: Engine, metrics: Metrics) -> None:
    queue = engine.queue
    metrics.gauge("modelyard_queue_depth", "Keys in the queue.", lambda: float(len(queue)))
    metrics.gauge("modelyard_queue_due", "Keys that wait for a worker.", lambda: float(queue.due()))
    metrics.gauge(
        "modelyard_queue_working", "Keys that workers have.", lambda: float(queue.working())
    )
    metrics.gauge(
        "modelyard_queue_oldest_seconds",
        "Time that the longest waiting due key has waited.",
        queue.oldest,
    )


def _views(engine: Engine, metrics: Metrics, resync_seconds: float) -> None:
    metrics.gauge(
        "modelyard_resync_age_seconds",
        "Time since this replica, as the leader, last listed everything, or since its start.",
        lambda: time.monotonic() - engine.last_resync,
    )
    metrics.gauge(
        "modelyard_resync_period_seconds",
        "Time between two resyncs, as set.",
        lambda: resync_seconds,
    )
    metrics.gauge_by_kind(
        "modelyard_cache_objects",
        "Objects in the cache.",
        lambda: [(kind, float(engine.cache.count(kind))) for kind in engine.kinds],
    )
    metrics.gauge_by_kind("modelyard_watch_up", "1 while the kind is watched.", engine.watches.up)
    metrics.gauge_by_kind(
        "modelyard_watch_age_seconds",
        "Time since the kind's watch was started or brought an event or a bookmark.",
        engine.watches.ages,
    )
