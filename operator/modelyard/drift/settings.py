"""What a Deployment declares about drift (`spec.monitoring.drift`), as the statistics need it.

Times are in seconds. The API's own type is another one, with bounds; the agent converts.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.drift.signals import ALARMS, EXPLAIN, Signal

DAY = 86_400.0
HOUR = 3_600.0


@dataclass(frozen=True)
class DriftSettings:
    """How images become blocks, and which rate of false alarms is declared."""

    sample: float = 10.0
    """One image per interval and source is observed."""
    block_duration: float = 300.0
    """A block lasts at least as long."""
    block_images: int = 20
    """A block has at least as many images that are not blank."""
    sources: int = 8
    """Sources that are told apart; further ones are counted, not charted."""
    signals: tuple[Signal, ...] = ALARMS
    """Signals that may raise an alarm. They share the budget of false alarms."""
    explain: tuple[Signal, ...] = EXPLAIN
    """Signals that are reported beside an alarm."""
    baseline_days: float = 14.0
    """A baseline spans as many days; 0 says that days and weeks are not calibrated."""
    baseline_blocks: int = 400
    """A baseline has at least as many blocks."""
    expected_run_length: float = 90 * DAY
    """Expected time to a false alarm of one server: all its sources and signals together."""
    hold: float = DAY
    """A server drifts for as long after its last alarm."""
    profile: bool = True
    """Whether the site is compared with the holdout's profile."""

    @property
    def block_interval(self) -> float:
        """Shortest time between two blocks of a source, s: at most 288 a day by default."""
        return max(self.block_duration, self.sample * self.block_images)
