"""Recent points of all charts as JSON, for `modelyard drift`. Figures and names of sources only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.api.monitoring import DriftStatus
from modelyard.drift.monitor import State, chart
from modelyard.drift.signals import Signal


def recent(state: State, signals: Sequence[Signal], status: DriftStatus) -> dict[str, Any]:
    """The status, and each source's charts: points are [time, value, level], oldest first; value in
    standard deviations of the baseline from its mean, level 1 is an alarm."""
    charts = []
    for source in state.sources:
        for signal in signals:
            points = [
                [round(point.time), _rounded(point.value), _rounded(point.level)]
                for point in chart(state, source, signal)
            ]
            if points:
                charts.append({"source": source, "signal": signal.value, "points": points})
    told = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {"drift": told, "charts": charts}


def _rounded(value: float) -> float | None:
    """None for what JSON has no number for."""
    return round(value, 3) if abs(value) < 1e9 else None
