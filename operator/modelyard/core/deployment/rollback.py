"""When a rollout ends before its last stage: servers fail or do not come back, or an abort.

Three reasons end it: somebody aborts, more servers fail than failureBudget allows, or an analysis
fails (verdicts.py). All end in `roll_back`, so that history, the record of the rejected version
and the servers' assignments are the same for each. Servers that nobody can reach count neither
way: reachability.py.
"""

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
from modelyard.core.deployment.pauses import halt_for, is_paused
from modelyard.core.deployment.releases import titles
from modelyard.core.deployment.selection import first
from modelyard.core.fleet.projections import Side, name_in

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


def allowed_failures(context: RolloutContext, stage: Stage, *, done: int, want: int) -> int:
    """Servers that may fail. While no server holds the candidate (or has fetched it, or shadows
    it), one of the stage's must remain that may still do so: a candidate that nobody could load
    is never a success, whatever failureBudget allows."""
    holding = context.tallies.all.done if stage.kind == STEP else done
    return context.failure_budget if holding else min(context.failure_budget, max(0, want - 1))


def check_failures(
    context: RolloutContext,
    state: RolloutState,
    stage: Stage,
    *,
    failed: int,
    underway: int,
    allowed: int,
) -> Failures:
    """Whether more than `allowed` servers have failed, or do not come back."""
    now = context.now
    switching = context.tallies.all.switching
    moving = underway and (stage.kind != STEP or switching)
    late = 0
    requeue_at: tuple[datetime, ...] = ()
    # A halt of its own does not excuse servers that answered and do so no more.
    if moving and not is_paused(context.observed, state):
        limit = timedelta(seconds=context.observed.spec.rollout.progress_deadline_seconds)
        until = state.last_progress_at + limit
        if now > until:
            late = switching if stage.kind == STEP else underway
        else:
            requeue_at = (until + timedelta(seconds=1),)
    if failed + late <= allowed and (not late or late >= underway):
        return Failures(late, requeue_at=requeue_at)
    why = f"{failed} of {context.tallies.all.online} servers failed to take it"
    if late:
        seconds = context.observed.spec.rollout.progress_deadline_seconds
        why = f"no server has {_DONE[stage.kind]} for {seconds} s, {failed + late} still have to"
        if failed + late <= allowed:
            why += " and maxUnavailable leaves no others to try"
    if allowed < failed + late <= context.failure_budget:
        why += ", and no server has done so"
    found = example(context, stage)
    why += f", failureBudget is {context.observed.spec.rollout.failure_budget}"
    return Failures(why=f"{why}; {found}" if found else why)


def example(context: RolloutContext, stage: Stage) -> str:
    """One of the servers that could not do what the stage wants, and why; empty without any."""
    fleet, key = context.observed.fleet, context.candidate.key
    if stage.kind != STEP:
        field = "staged" if stage.kind == PRESTAGE else "shadow"
        groups = [g for g in fleet.groups if g.online and getattr(g, field) == (key, Side.FAILED)]
        for member in first(fleet, groups, 1):
            problem = member.server.problem if member.server else ""
            return f"{member.name}: {problem or 'no reason given'}"
        return ""
    for name in sorted(fleet.troubled):
        member = fleet.members[name]
        group = member.group
        if group and group.seen and group.assigned == key:
            held = name_in(member.server.loaded) if member.server else ""
            kept = f", it goes on with {held}" if held and group.ready else ""
            return f"{name}{kept}: {fleet.troubled[name][1]}"
    return ""


def roll_back(
    context: RolloutContext, state: RolloutState, outcome: Outcome, reason: str, message: str
) -> StepResult:
    """End the rollout: back to stable. Where only the pods' template differs there is no version
    to go back to, so it stays and says what to mend."""
    if context.candidate.key != context.stable.key:
        candidate, stable = titles(context.candidate, context.stable)
        text = f"{candidate} was rolled back to {stable}: {message}"
        return StepResult(state, moves=Moves(), end=End(outcome, reason, text), final=True)
    text = f"new server pods: {message}; change the spec of its server pods to go on"
    if reason == reasons.ABORTED:
        user = context.actions.users.get(ActionName.ABORT)
        state = state.but(paused=halt_for(state, HaltReason.REQUESTED, context.moment, user))
    wait = Wait(reason, text, DeploymentPhase.DEGRADED)
    return StepResult(state, moves=Moves(), waits=(wait,), final=True)
