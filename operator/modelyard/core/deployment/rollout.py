"""How a rollout goes on, from one decision to the next.

A stage is over when all the servers that it wants have the candidate, its analysis has succeeded
and its pause is over. A failed analysis, or more failed servers than failureBudget, ends the
rollout: back to stable. Servers that cannot be reached neither count nor block, unless the
candidate seems to be the reason; where none is left that could show how it does, it waits.

`advance` folds the parts below. Why it went back: rollback.py, verdicts.py. What it waits for:
pauses.py, reachability.py, node_loss.py. Who moves next: moving.py, selection.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import PRESTAGE, SHADOW, STEP, Place, Stage, after, locate
from modelyard.api.rolloutstatus import Outcome, RolloutState
from modelyard.core.deployment import reasons
from modelyard.core.deployment.context import End, Part, RolloutContext, StepResult, Wait
from modelyard.core.deployment.moving import Reach, move
from modelyard.core.deployment.node_loss import node_loss
from modelyard.core.deployment.pauses import (
    apply_actions,
    is_paused,
    pass_promoted,
    paused_text,
    resume_text,
    skip_unwanted_stage,
    sync_spec_pause,
    sync_step_pause,
    wait_while_paused,
)
from modelyard.core.deployment.reachability import check_pool, check_reachability
from modelyard.core.deployment.rollback import (
    allowed_failures,
    check_abort,
    check_failures,
    example,
    roll_back,
)
from modelyard.core.deployment.starting import enter, replanned
from modelyard.core.deployment.verdicts import (
    figures,
    measure_analysis,
    measure_while_incomplete,
)
from modelyard.core.plan import Event


def advance(context: RolloutContext, state: RolloutState) -> StepResult:
    """What a rollout does next."""
    result = _fold(context, StepResult(state), BEFORE_STAGES)
    for _ in context.stages:
        if result.closed:
            return result
        result = _fold(context, result, IN_STAGE)
        over = result.stage_over or not (result.closed or result.waits)
        if not over:
            return result
        result = _next_stage(context, result)
    return result


def follow_edited_steps(context: RolloutContext, state: RolloutState) -> StepResult:
    """Where the steps of the spec were edited, enter the stage where the rollout stands now."""
    position = locate(context.stages, Place.of(state))
    if position.edited:
        return StepResult(enter(state, context.stages, position, context.moment))
    return StepResult(replanned(state, context.stages))


def move_servers(context: RolloutContext, state: RolloutState) -> StepResult:
    """Move servers on, within the budgets; wait until all that the stage wants are there."""
    stage = context.stage(state)
    lost = node_loss(context, state) if stage.kind == STEP else ""
    there = move(
        context.observed,
        context.tallies,
        stage,
        stable=context.stable,
        candidate=context.candidate,
        paused=is_paused(context.observed, state) or bool(lost),
    )
    state = _with_progress(context, state, there)
    if stage.kind == SHADOW and not there.want and not state.promoted:
        text = f"no server can shadow {context.candidate.name}: it runs beside "
        text += f"{context.stable.name}, which none answers with; promote goes on without a shadow"
        return context.waiting(state, text, reasons.NO_SERVER_TO_SHADOW)
    failed = there.failed
    allowed = allowed_failures(context, stage, done=there.done, want=there.want)
    if stage.kind != STEP and failed > allowed:
        # Fetches are tried again, and no user is concerned: they have until the deadline.
        failed = 0
    found = check_failures(
        context,
        state,
        stage,
        # The budget is of the fleet, whatever pool the step is of.
        failed=context.tallies.all.failed if stage.kind == STEP else failed,
        underway=there.want - there.done - failed,
        allowed=allowed,
    )
    if found.why:
        reason = reasons.FAILURE_BUDGET_EXCEEDED
        return roll_back(context, state, Outcome.ROLLED_BACK, reason, found.why)
    result = StepResult(state, moves=there.moves, requeue_at=found.requeue_at)
    if lost:
        return result.then(context.waiting(state, lost, reasons.SERVERS_VANISH))
    if there.done + failed + found.late < there.want:
        result = result.then(measure_while_incomplete(context, state))
        if result.end is not None or result.final:
            return result
        return result.then(_not_reached(context, result.state, stage, there))
    return result.then(_reached(context, state, stage, there))


BEFORE_STAGES: tuple[Part, ...] = (
    apply_actions,  # first: all others go by what people want now
    sync_spec_pause,  # then the spec, which no action overrides
    follow_edited_steps,  # before anything is asked of the present stage
    check_abort,  # an abort needs no server: before what waits for one
    check_reachability,  # nothing below can be judged without a server
)
"""Once a decision, in this order."""

IN_STAGE: tuple[Part, ...] = (
    skip_unwanted_stage,  # before a stage that nobody wants moves a server
    check_pool,  # before its empty pool passes for a complete one
    move_servers,  # until all are there, nothing is measured and no pause begins
    wait_while_paused,  # a pause by people or spec is stronger than a promote of the step
    pass_promoted,  # a promote ends analysis and pause, so before both
    measure_analysis,  # goes on through a pause; what is unclear shows before the pause
    sync_step_pause,  # last: its time has begun when the servers were there
)
"""For each stage, in this order; a stage for which none waits is over."""


def _fold(context: RolloutContext, result: StepResult, parts: Iterable[Part]) -> StepResult:
    for part in parts:
        result = result.then(part(context, result.state))
        if result.closed:
            break
    return result


def _next_stage(context: RolloutContext, result: StepResult) -> StepResult:
    """Enter the next stage, or end after the last one."""
    state = result.state
    position = after(context.stages, locate(context.stages, Place.of(state)))
    if position is None:
        text = figures(state) or f"{context.tallies.all.done} servers have it"
        end = End(Outcome.SUCCEEDED, reasons.ROLLED_OUT, text)
        return replace(result, end=end, stage_over=False, waits=())
    entered = enter(state, context.stages, position, context.moment)
    return replace(result, state=entered, moves=None, stage_over=False, waits=())


def _with_progress(context: RolloutContext, state: RolloutState, there: Reach) -> RolloutState:
    """The state with how far the stage is. A server that came, left or was assigned the candidate
    since has its own time until the deadline."""
    if (there.want, there.done) != (state.target, state.done) or there.moves.assign:
        state = state.but(last_progress_at=context.moment)
    return state.but(target=there.want, done=there.done)


def _reached(
    context: RolloutContext, state: RolloutState, stage: Stage, there: Reach
) -> StepResult:
    """All servers of the stage are there: from now its pause and its analysis count."""
    if state.reached_at is not None:
        return StepResult(state)
    reached = state.but(reached_at=context.moment)
    if len(context.stages) == 1:
        return StepResult(reached)
    text = f"{context.candidate.name}: {stage.title} reached with {there.done} servers"
    return StepResult(reached, events=(Event("Normal", "StageReached", text),))


def _not_reached(
    context: RolloutContext, state: RolloutState, stage: Stage, there: Reach
) -> StepResult:
    text = _how_far(context, state, stage, there)
    if is_paused(context.observed, state):
        paused = f"{paused_text(context, state)}: {text}; {resume_text(context)}"
        return context.waiting(state, paused)
    wait = Wait(reasons.ROLLING_OUT, text, DeploymentPhase.PROGRESSING)
    return StepResult(state, waits=(wait,), final=True)


def _how_far(context: RolloutContext, state: RolloutState, stage: Stage, there: Reach) -> str:
    verb = {PRESTAGE: "have fetched", SHADOW: "shadow"}.get(stage.kind, "have switched to")
    where = f" ({stage.title} of {state.steps})" if len(context.stages) > 1 else ""
    offline = context.tallies.all.offline - context.tallies.all.absent
    rest = f"; {offline} offline" if offline else ""
    if stage.kind != STEP and there.failed:
        rest += f"; {there.failed} could not and try again, {example(context, stage)}"
    return f"{there.done} of {there.want} servers {verb} {context.candidate.name}{where}{rest}"
