"""When a rollout ends before its last stage: servers fail or do not come back, or an abort."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import PRESTAGE, SHADOW, STEP, Stage
from modelyard.api.rolloutstatus import ActionName, HaltReason, Outcome, RolloutState
from modelyard.contract import attribution
from modelyard.core.deployment import reasons
from modelyard.core.deployment.context import End, RolloutContext, StepResult, Wait
from modelyard.core.deployment.moving import Moves
from modelyard.core.deployment.pauses import halt_for
from modelyard.core.deployment.selection import first

_DONE = {PRESTAGE: "fetched it", SHADOW: "begun to shadow it", STEP: "switched"}


class Failures(NamedTuple):
    """What failed servers mean for a stage."""

    late: int = 0
    """Servers that have not come back and count as failed."""
    why: str = ""
    """Why the rollout must end, for people; empty if it need not."""
    requeue_at: tuple[datetime, ...] = ()


def check_abort(context: RolloutContext, state: RolloutState) -> StepResult:
    """Somebody aborts the rollout: it ends, whether or not a server can be reached."""
    if ActionName.ABORT not in context.actions:
        return StepResult(state)
    who = attribution.readable(context.actions.users.get(ActionName.ABORT)) or "somebody"
    return roll_back(context, state, Outcome.ABORTED, reasons.ABORTED, f"{who} aborted it")


def check_failures(
    context: RolloutContext,
    state: RolloutState,
    stage: Stage,
    *,
    done: int,
    failed: int,
    underway: int,
) -> Failures:
    """Whether too many servers have failed, or do not come back, or none has the version although
    all have tried: a budget covers failures beside a success, it is none itself."""
    now, budget = context.now, context.failure_budget
    switching = context.tallies.all.switching
    moving = underway and (stage.kind != STEP or switching)
    late = 0
    requeue_at: tuple[datetime, ...] = ()
    if moving and not state.paused:
        limit = timedelta(seconds=context.observed.spec.rollout.progress_deadline_seconds)
        until = state.last_progress_at + limit
        if now > until:
            late = switching if stage.kind == STEP else underway
        else:
            requeue_at = (until + timedelta(seconds=1),)
    all_tried = bool(failed + late) and late >= underway
    if failed + late <= budget and (not late or late >= underway) and (done or not all_tried):
        return Failures(late, requeue_at=requeue_at)
    why = f"{failed} of {context.tallies.all.online} servers failed to take it"
    if late:
        seconds = context.observed.spec.rollout.progress_deadline_seconds
        why = f"no server has {_DONE[stage.kind]} for {seconds} s, {failed + late} still have to"
        if failed + late <= budget and late < underway:
            why += " and maxUnavailable leaves no others to try"
    elif failed <= budget:
        why += " and none has it"
    found = example(context, stage)
    why += f", failureBudget is {context.observed.spec.rollout.failure_budget}"
    return Failures(why=f"{why}; {found}" if found else why)


def example(context: RolloutContext, stage: Stage) -> str:
    """One of the servers that could not do what the stage wants, and why; empty without any."""
    fleet, key = context.observed.fleet, context.candidate.key
    if stage.kind != STEP:
        field = "staged" if stage.kind == PRESTAGE else "shadow"
        groups = [g for g in fleet.groups if g.online and getattr(g, field) == (key, "failed")]
        for member in first(fleet, groups, 1):
            problem = member.server.problem if member.server else ""
            return f"{member.name}: {problem or 'no reason given'}"
        return ""
    for name in sorted(fleet.troubled):
        member = fleet.members[name]
        group = member.group
        if group and group.seen and group.assigned == key:
            held = member.server.loaded.partition(":")[0] if member.server else ""
            kept = f", it goes on with {held}" if held and group.ready else ""
            return f"{name}{kept}: {fleet.troubled[name][1]}"
    return ""


def roll_back(
    context: RolloutContext, state: RolloutState, outcome: Outcome, reason: str, message: str
) -> StepResult:
    """End the rollout: back to stable. Where only the pods' template differs there is no version
    to go back to, so it stays and says what to mend."""
    if context.candidate.key != context.stable.key:
        text = f"{context.candidate.name} was rolled back to {context.stable.name}: {message}"
        return StepResult(state, moves=Moves(), end=End(outcome, reason, text), final=True)
    text = f"new server pods: {message}; change the spec of its server pods to go on"
    if reason == reasons.ABORTED:
        user = context.actions.users.get(ActionName.ABORT)
        state = state.but(paused=halt_for(state, HaltReason.REQUESTED, context.moment, user))
    wait = Wait(reason, text, DeploymentPhase.DEGRADED)
    return StepResult(state, moves=Moves(), waits=(wait,), final=True)
