"""Counters and histograms of the operator, and the registry that /metrics renders.

Gauges that are computed at scrape time are registered by gauges.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from modelyard import __version__

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

LabelledValues = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""Computes the series of a gauge: (label values, value)."""


class Metrics:
    """The operator's metrics. Gauges are computed when Prometheus scrapes."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series with its creation time.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        registry = self._registry
        self._reconciles, self._seconds = _of_reconciles(registry)
        self._requests, self._request_seconds = _of_requests(registry)
        self._queries, self._query_seconds = _of_queries(registry)
        self._repairs = Counter(
            "modelyard_cache_repairs",
            "Objects that a resync found missing, old or vanished in the cache.",
            ("kind",),
            registry=registry,
        )
        self._resyncs = Counter(
            "modelyard_resyncs",
            "Rounds that listed everything, the one when leading began not counted.",
            registry=registry,
        )
        self._relists = Counter(
            "modelyard_watch_restarts",
            "Watches that had to start from a new list.",
            ("kind",),
            registry=registry,
        )
        self._watch_failures = Counter(
            "modelyard_watch_failures",
            "Requests of a watch that failed, by HTTP status (none: no answer).",
            ("kind", "code"),
            registry=registry,
        )
        self._lease_failures = Counter(
            "modelyard_lease_failures",
            "Tries to take or renew the Lease that got no answer in time or an error.",
            registry=registry,
        )
        build = "modelyard_build_info", "1, with the operator's version."
        Gauge(*build, ("version",), registry=registry).labels(__version__).set(1)

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """A reconcile ended."""
        self._reconciles.labels(kind, result).inc()
        self._seconds.labels(kind).observe(seconds)

    def requested(self, verb: str, kind: str, code: str, seconds: float) -> None:
        """A request to the API server ended."""
        self._requests.labels(verb, kind, code).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def repaired(self, kind: str, count: int) -> None:
        """A resync corrected the cache."""
        self._repairs.labels(kind).inc(count)

    def resynced(self) -> None:
        """A resync listed everything and queued its part of the objects."""
        self._resyncs.inc()

    def relisted(self, kind: str) -> None:
        """A watch started from a new list."""
        self._relists.labels(kind).inc()

    def watch_failed(self, kind: str, code: str) -> None:
        """A watch could not be started."""
        self._watch_failures.labels(kind, code).inc()

    def queried(self, result: str, seconds: float) -> None:
        """A query to Prometheus ended; `result` is number or problem."""
        self._queries.labels(result).inc()
        self._query_seconds.observe(seconds)

    def lease_failed(self) -> None:
        """A try to acquire or renew the Lease failed."""
        self._lease_failures.inc()

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Register a gauge that is computed when it is scraped."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def gauge_by_kind(
        self, name: str, text: str, values: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        """Register a gauge with one series per kind that is computed when it is scraped."""
        self.labelled_gauge(
            name, text, ("kind",), lambda: [((kind,), value) for kind, value in values()]
        )

    def labelled_gauge(
        self, name: str, text: str, labels: Sequence[str], values: LabelledValues
    ) -> None:
        """Register a gauge with labels that is computed when it is scraped."""
        self._registry.register(_Labelled(name, text, labels, values))

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Labelled:
    def __init__(self, name: str, text: str, labels: Sequence[str], values: LabelledValues) -> None:
        self._name, self._text, self._labels, self._values = name, text, labels, values

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values():
            family.add_metric(labels, value)
        yield family

    def describe(self) -> Iterable[Metric]:
        return ()


def _of_reconciles(registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    reconciles = Counter(
        "modelyard_reconciles",
        "Reconciles by kind and result; all results but ok are retried.",
        ("kind", "result"),
        registry=registry,
    )
    seconds = Histogram(
        "modelyard_reconcile_seconds",
        "Duration of reconciles, with their writes.",
        ("kind",),
        buckets=_DURATIONS,
        registry=registry,
    )
    return reconciles, seconds


def _of_requests(registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    requests = Counter(
        "modelyard_api_requests",
        "Requests to the API server but watches, by HTTP status (none: no answer).",
        ("verb", "kind", "code"),
        registry=registry,
    )
    seconds = Histogram(
        "modelyard_api_request_seconds",
        "Duration of requests to the API server but watches.",
        ("verb",),
        buckets=_DURATIONS,
        registry=registry,
    )
    return requests, seconds


def _of_queries(registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    queries = Counter(
        "modelyard_prometheus_queries",
        "PromQL queries of rollouts, by what came back: number, or problem.",
        ("result",),
        registry=registry,
    )
    seconds = Histogram(
        "modelyard_prometheus_query_seconds",
        "Duration of these queries.",
        buckets=_DURATIONS,
        registry=registry,
    )
    return queries, seconds
