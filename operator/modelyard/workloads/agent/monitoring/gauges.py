"""Monitoring for Prometheus. Labels are bounded: sources by `source.max`, signals by the API."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from modelyard.api.monitoring import DriftState, DriftStatus
from modelyard.drift.monitor import State, chart
from modelyard.drift.signals import Signal


class Gauges:
    """What one agent's monitoring finds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._level = Gauge(
            "modelyard_drift_level",
            "Height of a chart: an alarm at 1.",
            ["source", "signal"],
            registry=registry,
        )
        self._value = Gauge(
            "modelyard_drift_value",
            "A chart's last block, in standard deviations of the baseline from its mean.",
            ["source", "signal"],
            registry=registry,
        )
        self._state = Gauge(
            "modelyard_drift_state", "1 for what the server knows.", ["state"], registry=registry
        )
        self._observed = Counter(
            "modelyard_drift_observations",
            "Drawn requests that were looked at.",
            registry=registry,
        )
        self._missed = Counter(
            "modelyard_drift_missed",
            "Drawn requests that were lost: they failed or did not fit.",
            registry=registry,
        )
        self._seconds = Counter(
            "modelyard_drift_cpu_seconds",
            "CPU time that was spent on observations.",
            registry=registry,
        )

    def observed(self, seconds: float) -> None:
        """A drawn request was looked at, which took so much CPU time."""
        self._observed.inc()
        self._seconds.inc(max(0.0, seconds))

    def missed(self, number: int) -> None:
        """Drawn requests were lost."""
        self._missed.inc(number)

    def block(self, state: State, source: str, signals: Sequence[Signal]) -> None:
        """A block of a source has closed."""
        for signal in signals:
            if points := chart(state, source, signal):
                self._level.labels(source, signal).set(points[-1].level)
                self._value.labels(source, signal).set(points[-1].value)

    def state(self, status: DriftStatus) -> None:
        """What is reported."""
        for state in DriftState:
            self._state.labels(state.value).set(status.state == state)

    def clear(self) -> None:
        """Nothing is monitored any more."""
        self._level.clear()
        self._value.clear()
        self._state.clear()
