"""What the parts of a rollout go by, and what each adds.

A part is a function from (RolloutContext, RolloutState) to a StepResult. rollout.py folds them in a
stated order: each sees the state that those before it have left.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import Place, Stage, locate, stages
from modelyard.api.rolloutstatus import Outcome, RolloutState
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.moving import Moves, failure_budget
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Begun, Tallies, tally
from modelyard.core.plan import Event, MetricQuery


def begun_by(
    observed: Observed, state: RolloutState | None, stable: Release, goal: Release
) -> Begun | None:
    """What a rollout has done to servers; None without one. The new pods that it brings may have
    been begun by others before it, with other versions."""
    if state is None:
        return None
    pods = goal.template != stable.template
    since = state.started_at
    changed = meta.annotation(observed.workload, labels.TEMPLATE_SINCE) if observed.workload else ""
    if pods and changed:
        with suppress(ValueError):  # Somebody else has written it.
            since = min(since, parse_timestamp(changed))
    return Begun(since.timestamp(), pods)


@dataclass(frozen=True)
class Wait:
    """What a rollout waits for, for programs (reason) and for people (message)."""

    reason: str
    message: str
    phase: DeploymentPhase = DeploymentPhase.PAUSED
    """Of the Deployment: Progressing where it goes on by itself, Paused where it waits for
    somebody or for the end of a pause, Degraded where something must be mended first."""


@dataclass(frozen=True)
class End:
    """How a rollout ends."""

    outcome: Outcome
    reason: str
    message: str


@dataclass(frozen=True)
class StepResult:
    """A rollout after one part, or after several."""

    state: RolloutState
    moves: Moves | None = None
    """Which servers get which version; None: nothing to add."""
    waits: tuple[Wait, ...] = ()
    """Several parts may wait at once: the first one is shown."""
    end: End | None = None
    final: bool = False
    """Whether the later parts, and the later stages, are left alone in this decision."""
    stage_over: bool = False
    """Whether the stage is over, whatever its later parts would say."""
    events: tuple[Event, ...] = ()
    queries: tuple[MetricQuery, ...] = ()
    requeue_at: tuple[datetime, ...] = ()
    """When to decide again although nothing has changed."""

    @property
    def wait(self) -> Wait | None:
        """What is waited for."""
        return self.waits[0] if self.waits else None

    @property
    def closed(self) -> bool:
        """Whether no later part of the stage is asked."""
        return self.final or self.stage_over or self.end is not None

    def then(self, later: StepResult) -> StepResult:
        """This with what a later part adds."""
        return StepResult(
            state=later.state,
            moves=self.moves if later.moves is None else later.moves,
            waits=(*self.waits, *later.waits),
            end=later.end,
            final=later.final,
            stage_over=later.stage_over,
            events=(*self.events, *later.events),
            queries=(*self.queries, *later.queries),
            requeue_at=(*self.requeue_at, *later.requeue_at),
        )


@dataclass(frozen=True)
class RolloutContext:
    """What a rollout goes by; nothing of it changes during a decision."""

    observed: Observed
    stable: Release
    candidate: Release
    actions: Actions
    now: datetime
    begun: Begun | None
    """What the rollout has done to servers."""

    @property
    def moment(self) -> datetime:
        """Now as a status keeps it: in whole seconds."""
        return self.now.replace(microsecond=0)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the rollout, in order."""
        return stages(self.observed.spec.rollout, edge=self.observed.edge)

    def stage(self, state: RolloutState) -> Stage:
        """The present stage."""
        return self.stages[locate(self.stages, Place.of(state)).index]

    @cached_property
    def tallies(self) -> Tallies:
        """How many servers have the candidate."""
        return tally(self.observed.fleet, self.candidate, self.begun)

    @cached_property
    def failure_budget(self) -> int:
        """Servers that may fail."""
        return failure_budget(self.observed, self.tallies)

    def waiting(
        self,
        state: RolloutState,
        message: str,
        reason: str = reasons.PAUSED,
        phase: DeploymentPhase = DeploymentPhase.PAUSED,
    ) -> StepResult:
        """The result of a part that waits and lets no later one go on."""
        return StepResult(state, waits=(Wait(reason, message, phase),), final=True)


Part = Callable[[RolloutContext, RolloutState], StepResult]
