"""How many requests a model line answered, over all versions that Triton had under its name.

Taken from Triton's statistics: its Prometheus metrics file an ensemble's requests under version 1,
whatever its version is (2.51).
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.serving.triton import ModelStatistics, Triton


@dataclass(frozen=True)
class TrafficReport:
    """Requests since the meter was made, and their mean time since the last report."""

    requests: int
    """Answered requests."""
    failures: int
    """Requests answered with an error, such as undecodable images."""
    mean_milliseconds: float | None
    """Time in the server per answered request since the last report; None if there was none."""


class TrafficMeter:
    """Adds up Triton's counters, which start at 0 whenever a version is loaded."""

    def __init__(self, triton: Triton, line: str) -> None:
        self._triton = triton
        self._line = line
        self._last: dict[str, ModelStatistics] = {}
        self._successes = 0
        self._failures = 0
        self._recent = 0
        self._recent_ns = 0

    async def sample(self) -> None:
        """Takes what was counted until now; the switcher does so before it replaces a version,
        whose counters go with it. Raises TritonUnavailableError."""
        current = {one.version: one for one in await self._triton.statistics(self._line)}
        for version, now in current.items():
            before = self._last.get(version)
            # Lower than before: loaded anew, so all of it is new.
            if before is None or now.successes < before.successes or now.failures < before.failures:
                successes, failures, spent = now.successes, now.failures, now.success_ns
            else:
                successes = now.successes - before.successes
                failures = now.failures - before.failures
                spent = now.success_ns - before.success_ns
            self._successes += successes
            self._failures += failures
            self._recent += successes
            self._recent_ns += spent
        self._last = current

    async def report(self) -> TrafficReport:
        """Samples and reports. Raises TritonUnavailableError."""
        await self.sample()
        mean = self._recent_ns / self._recent / 1e6 if self._recent else None
        self._recent = self._recent_ns = 0
        # Triton counts a failed request of an ensemble twice: where the step failed
        # (InferenceRequest::RespondIfError) and when the ensemble's request is released.
        return TrafficReport(self._successes, (self._failures + 1) // 2, mean)
