"""One look at a rollout: what it goes by, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.moving import Moves, failure_budget
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Begun, Tallies, tally
from modelyard.core.deployment.stages import Stage, stages
from modelyard.core.plan import Event, MetricQuery


def begun_by(
    observed: Observed, state: Mapping[str, Any] | None, stable: Release, goal: Release
) -> Begun | None:
    """What a rollout has done to servers; None without one. The new pods that it brings may have
    been begun by others before it, with other versions."""
    if not state:
        return None
    pods = goal.template != stable.template
    since = parse_timestamp(state["startedAt"])
    changed = meta.annotation(observed.workload, labels.TEMPLATE_SINCE) if observed.workload else ""
    if pods and changed:
        with suppress(ValueError):  # Somebody else has written it.
            since = min(since, parse_timestamp(changed))
    return Begun(since.timestamp(), pods)


@dataclass
class StepResult:
    """A rollout after one look."""

    state: dict[str, Any]
    """api.rolloutstatus.RolloutStatus."""
    moves: Moves = field(default_factory=Moves)
    outcome: str = ""
    """Succeeded, RolledBack or Aborted, if it has ended."""
    reason: str = ""
    message: str = ""
    """Why it has ended or does not go on, or how far it is."""
    halted: bool = False
    """Whether it waits for somebody, or for the end of a pause."""
    stuck: bool = False
    """Whether only somebody's help gets it on."""
    events: list[Event] = field(default_factory=list)
    queries: tuple[MetricQuery, ...] = ()
    looks: list[datetime] = field(default_factory=list)
    """When to look again although nothing has changed."""


@dataclass
class RolloutContext:
    """What a rollout goes by; the modules of its parts write what comes of it into `out`."""

    observed: Observed
    stable: Release
    candidate: Release
    actions: Actions
    now: datetime
    out: StepResult

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return stages(self.observed.spec.rollout, edge=self.observed.edge)

    @cached_property
    def begun(self) -> Begun | None:
        """What the rollout has done to servers."""
        return begun_by(self.observed, self.out.state, self.stable, self.candidate)

    @cached_property
    def tallies(self) -> Tallies:
        """How many servers have the candidate."""
        return tally(self.observed.fleet, self.candidate, self.begun)

    @cached_property
    def failure_budget(self) -> int:
        """Servers that may fail."""
        return failure_budget(self.observed, self.tallies)
