"""Counts the server's requests over all versions that it has served.

Triton forgets a version's counters when it unloads the version, so they are read often and their
growth is added up; what a version answered after the last look at it is not counted.

From the statistics, not from the Prometheus metrics: those file an ensemble's requests under
version 1, whatever its version is (2.51).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from modelyard.api.modelserver import Traffic
from modelyard.serving.triton import ModelStatistics
from modelyard.workloads.agent.memory import write_whole

logger = logging.getLogger(__name__)

FILE = "traffic.json"


class Counters(BaseModel):
    """Triton's counters of one loaded version when they were last read."""

    successes: int = 0
    success_ns: int = 0
    failures: int = 0


class Totals(BaseModel):
    """What is kept on disk, so that an agent that restarts goes on counting."""

    pod_name: str
    requests: int = 0
    failures: int = 0
    """As Triton counts them."""
    busy_ns: int = 0
    """Time in the server of all successful requests, in nanoseconds."""
    seen: dict[str, Counters] = Field(default_factory=dict)


class TrafficMeter:
    """Adds up the statistics of one model name over its versions."""

    def __init__(self, folder: Path, pod_name: str) -> None:
        self._path = folder / FILE
        self._totals = self._read(pod_name)
        self._reported = (self._totals.requests, self._totals.busy_ns)

    def add(self, statistics: Iterable[ModelStatistics]) -> None:
        """Takes in the counters of the versions that are loaded now."""
        totals, seen = self._totals, {}
        for one in statistics:
            before = totals.seen.get(one.version, Counters())
            if one.successes < before.successes or one.failures < before.failures:
                before = Counters()  # reloaded since
            totals.requests += one.successes - before.successes
            totals.failures += one.failures - before.failures
            totals.busy_ns += max(0, one.success_ns - before.success_ns)
            seen[one.version] = Counters(
                successes=one.successes, success_ns=one.success_ns, failures=one.failures
            )
        totals.seen = seen

    @property
    def requests(self) -> int:
        """Successful requests so far."""
        return self._totals.requests

    @property
    def failures(self) -> int:
        """Failed requests so far."""
        # Triton counts a failed request of an ensemble twice: where the step failed
        # (InferenceRequest::RespondIfError) and when the ensemble's request is released.
        return (self._totals.failures + 1) // 2

    def report(self) -> Traffic | None:
        """The figures for the status; None if there never was a request."""
        totals = self._totals
        if not self.requests and not self.failures:
            return None
        requests = totals.requests - self._reported[0]
        busy = totals.busy_ns - self._reported[1]
        mean = round(busy / requests / 1e6, 2) if requests > 0 else None
        return Traffic(requests=self.requests, failures=self.failures, mean_milliseconds=mean)

    def reported(self) -> None:
        """Called once the figures are written: the mean starts over, the sums go to disk."""
        self._reported = (self._totals.requests, self._totals.busy_ns)
        try:
            write_whole(self._path, self._totals.model_dump_json())
        except OSError as error:
            logger.warning("cannot keep the traffic counters in %s: %s", self._path, error)

    def _read(self, pod_name: str) -> Totals:
        try:
            found = Totals.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Totals(pod_name=pod_name)
        except (OSError, ValidationError) as error:
            logger.warning("cannot use %s, counting from 0: %s", self._path, error)
            return Totals(pod_name=pod_name)
        # A folder of the node outlives the pod, but the server's count starts with the pod.
        return found if found.pod_name == pod_name else Totals(pod_name=pod_name)
