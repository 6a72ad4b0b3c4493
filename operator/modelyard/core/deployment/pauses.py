"""Parts of a rollout that deal with people and pauses: actions, the spec's pause, a step's own.

A rollout has one pause at a time, with one reason. Each part here adds or ends a pause for its own
reason and leaves the others alone; their order in rollout.py decides which one people see. What
may be asked when, as the command line has it: cli/rolloutactions.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from modelyard.api.base import duration_seconds
from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import SHADOW, STEP, Stage
from modelyard.api.rolloutstatus import ActionName, Halt, HaltReason, RolloutState
from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.conditions import timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.actions import changed_by
from modelyard.core.deployment.context import RolloutContext, StepResult, Wait
from modelyard.core.deployment.history import with_actions
from modelyard.core.deployment.observed import Observed


def apply_actions(context: RolloutContext, state: RolloutState) -> StepResult:
    """Do what people ask for by annotations, but for an abort, and note who asked."""
    actions, moment = context.actions, context.moment
    state = with_actions(state, actions, moment)
    if ActionName.RESUME in actions or ActionName.RETRY in actions:
        if state.paused_for == HaltReason.INCONCLUSIVE:
            state = state.but(analysis=None)
        state = state.but(paused=None, last_progress_at=moment)
    if ActionName.PROMOTE in actions:
        full = actions.full or state.promote_full
        state = state.but(paused=None, promoted=True, promote_full=full or None)
    # Last: which came first is not known where several are new, and to wait harms nobody.
    if ActionName.PAUSE in actions:
        user = actions.users.get(ActionName.PAUSE)
        state = state.but(paused=Halt(reason=HaltReason.REQUESTED, since=moment, by=user))
    return StepResult(state)


def sync_spec_pause(context: RolloutContext, state: RolloutState) -> StepResult:
    """Note that the spec pauses the rollout, or does so no more."""
    if state.paused_for == HaltReason.REQUESTED:
        return StepResult(state)  # It outlives the spec's: only a resume ends it.
    if context.observed.spec.rollout.paused:
        user = changed_by(context.observed.obj)
        return StepResult(state.but(paused=halt_for(state, HaltReason.SPEC, context.moment, user)))
    if state.paused_for == HaltReason.SPEC:
        return StepResult(state.but(paused=None, last_progress_at=context.moment))
    return StepResult(state)


def is_paused(observed: Observed, state: RolloutState | None) -> bool:
    """Whether the spec or somebody wants nothing to move; `state` is the rollout's, if any."""
    requested = state is not None and state.paused_for == HaltReason.REQUESTED
    return observed.spec.rollout.paused or requested


def wait_while_paused(context: RolloutContext, state: RolloutState) -> StepResult:
    """A stage that is reached is not left while somebody, or the spec, pauses the rollout."""
    if not is_paused(context.observed, state):
        return StepResult(state)
    return context.waiting(state, f"{paused_text(context, state)}: {resume_text(context)}")


def paused_text(context: RolloutContext, state: RolloutState) -> str:
    """Who has paused the rollout, for people."""
    who = attribution.by(state.paused.by if state.paused else None, " by ")
    return f"the rollout of {context.candidate.name} is paused{who}"


def resume_text(context: RolloutContext) -> str:
    """How a pause by somebody or by the spec ends, for people."""
    if context.observed.spec.rollout.paused:
        return "set spec.rollout.paused to false to go on"
    return f"modelyard rollout resume {meta.name(context.observed.obj)} goes on"


def pass_promoted(context: RolloutContext, state: RolloutState) -> StepResult:
    """A promote ends the pause and the analysis of a stage that is reached."""
    if not (state.promoted or state.promote_full):
        return StepResult(state)
    return StepResult(state.but(promoted=None, paused=None), stage_over=True)


def skip_unwanted_stage(context: RolloutContext, state: RolloutState) -> StepResult:
    """A promote of all that is left leaves out prestage and shadow before they move anything."""
    skipped = bool(state.promote_full) and context.stage(state).kind != STEP
    if skipped and not is_paused(context.observed, state):
        return StepResult(state.but(promoted=None, paused=None), stage_over=True)
    return StepResult(state)


def sync_step_pause(context: RolloutContext, state: RolloutState) -> StepResult:
    """Note that the stage's own pause is on, or over."""
    stage = context.stage(state)
    if stage.pause is None:
        return StepResult(state.but(paused=None))
    until = pause_ends(stage, state)
    if until is None:
        halted = state.but(paused=halt_for(state, HaltReason.STEP, context.moment))
        name = meta.name(context.observed.obj)
        text = (
            f"{context.candidate.name} waits after {stage.title} for a promote: "
            f"modelyard rollout promote {name}, or annotate modelyard.dev/promote"
        )
        return StepResult(halted, waits=(Wait(reasons.PAUSED, text),))
    if context.now >= until:
        return StepResult(state.but(paused=None))
    if stage.kind == SHADOW:  # Its time is no halt.
        text = f"{context.candidate.name} is shadowed until {timestamp(until)}"
        wait = Wait(reasons.ROLLING_OUT, text, DeploymentPhase.PROGRESSING)
        return StepResult(state, waits=(wait,), requeue_at=(until,))
    halt = halt_for(state, HaltReason.STEP, context.moment).but(until=until)
    text = f"{context.candidate.name} pauses after {stage.title} until {timestamp(until)}"
    return StepResult(
        state.but(paused=halt), waits=(Wait(reasons.PAUSED, text),), requeue_at=(until,)
    )


def pause_ends(stage: Stage, state: RolloutState) -> datetime | None:
    """When the stage's own pause, or the shadow, is over by itself; None if it is not reached
    yet."""
    if stage.pause is None or stage.pause.duration is None or state.reached_at is None:
        return None
    return state.reached_at + timedelta(seconds=duration_seconds(stage.pause.duration))


def halt_for(
    state: RolloutState, reason: HaltReason, moment: datetime, user: str | None = None
) -> Halt:
    """A pause; one for the same reason goes on as it began."""
    if state.paused is not None and state.paused.reason == reason:
        return state.paused.but(until=None)
    return Halt(reason=reason, since=moment, by=user)
