"""What the loop needs of the package `drift`, so that tests can put something simpler there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from modelyard.drift import monitor
from modelyard.drift.findings import Event, Finding
from modelyard.drift.monitor import ChartPoint, Pair
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.profile import Profile
from modelyard.drift.settings import DriftSettings
from modelyard.drift.signals import Signal


class Statistics(Protocol):
    """A reducer over observations and ticks; its states are values. See drift/monitor.py."""

    def initial(self) -> Any: ...

    def step(
        self,
        state: Any,
        event: Observation | Tick,
        settings: DriftSettings,
        profile: Profile | None = None,
    ) -> tuple[Any, tuple[Event, ...]]: ...

    def findings(self, state: Any) -> tuple[Finding, ...]: ...

    def accept(
        self, state: Any, source: str | None, now: float, settings: DriftSettings
    ) -> Any: ...

    def reset(self, state: Any, source: str | None, now: float) -> Any: ...

    def bridge(self, state: Any, pairs: list[Pair], now: float, settings: DriftSettings) -> Any: ...

    def chart(self, state: Any, source: str, signal: Signal) -> Sequence[ChartPoint]: ...

    def pool_values(self, state: Any) -> Mapping[str, Any]: ...

    def to_json(self, state: Any) -> dict[str, Any]: ...

    def from_json(self, found: Mapping[str, Any]) -> Any: ...


DRIFT: Statistics = monitor
"""The real ones."""
