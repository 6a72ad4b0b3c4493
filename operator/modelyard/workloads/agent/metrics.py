"""The agent's own metrics, for Prometheus.

Triton's own metrics cover requests; these cover what Triton cannot know: versions, fetches, loads,
reports. docs/operations.md lists them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelyard.api.modelserver import LoadedVersion
from modelyard.serving.switch import Swap

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one agent, in a registry of their own."""

    def __init__(self, line: str, deployment: str = "", node: str = "") -> None:
        self.registry = CollectorRegistry()
        self._server = (deployment, node, line)
        self._info = Gauge(
            "modelyard_agent_served_version",
            "1 for the version that answers.",
            ["deployment", "node", "model_line", "model_version", "version", "digest"],
            registry=self.registry,
        )
        self._switches = Counter(
            "modelyard_agent_switches",
            "Versions or settings that were brought up and took over.",
            registry=self.registry,
        )
        self._failures = Counter(
            "modelyard_agent_failures",
            "Tries to serve the assigned version that failed.",
            ["reason"],
            registry=self.registry,
        )
        self._switch_seconds = Histogram(
            "modelyard_agent_switch_seconds",
            "Time to load, warm up and switch to a version.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._fetch_seconds = Histogram(
            "modelyard_agent_fetch_seconds",
            "Time to fetch and verify an artifact.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._fetch_bytes = Counter(
            "modelyard_agent_fetched_bytes",
            "Bytes that came from the store; cached artifacts count nothing.",
            registry=self.registry,
        )
        self._reports = Counter(
            "modelyard_agent_reports",
            "Writes of the ModelServer's status.",
            registry=self.registry,
        )
        self._api_errors = Counter(
            "modelyard_agent_api_errors",
            "Calls to the API server that failed.",
            registry=self.registry,
        )
        self._internal_errors = Counter(
            "modelyard_agent_internal_errors",
            "Unexpected errors; each is in the log.",
            registry=self.registry,
        )
        self._answering = Gauge(
            "modelyard_agent_model_answers",
            "1 while the model answers, as the readiness probe saw it last.",
            registry=self.registry,
        )

    def serves(self, loaded: LoadedVersion | None) -> None:
        """A version answers, or none."""
        self._info.clear()
        if loaded is not None:
            self._info.labels(
                *self._server, loaded.model_version, str(loaded.version), loaded.digest
            ).set(1)

    def loaded(self, swap: Swap) -> None:
        """A version was brought up."""
        if swap.changed:
            self._switches.inc()
            self._switch_seconds.observe(
                swap.load_seconds + swap.warmup_seconds + swap.switch_seconds
            )

    def fetched(self, size: int, seconds: float) -> None:
        """An artifact is there; `size` is in bytes, 0 if it was cached."""
        self._fetch_bytes.inc(size)
        self._fetch_seconds.observe(seconds)

    def failed(self, reason: str) -> None:
        """A try to serve the assigned version failed."""
        self._failures.labels(reason).inc()

    def reported(self) -> None:
        """The status was written."""
        self._reports.inc()

    def api_error(self) -> None:
        """A call to the API server failed."""
        self._api_errors.inc()

    def internal_error(self) -> None:
        """Something unexpected happened."""
        self._internal_errors.inc()

    def answers(self, yes: bool) -> None:
        """What the readiness probe saw."""
        self._answering.set(yes)
