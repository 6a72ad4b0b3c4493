"""The analysis of a stage as a part of the rollout: measures, and judges by what was measured.

Measuring is separate from judging: bad figures end a rollout even while a server of the step is
missing, good ones count only when the step is complete. How a metric is read and bounded:
analysis.py, bounds.py; where its figures come from: core/fleet/figures.py, queries.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import SHADOW, Place, Stage, analysis_content
from modelyard.api.rolloutstatus import AnalysisPhase, HaltReason, Outcome, RolloutState
from modelyard.core.deployment import reasons
from modelyard.core.deployment.analysis import Measured, Sources, measure
from modelyard.core.deployment.context import RolloutContext, StepResult, Wait
from modelyard.core.deployment.pauses import halt_for, pause_ends
from modelyard.core.deployment.queries import placeholders
from modelyard.core.deployment.rollback import roll_back
from modelyard.core.plan import Event


def measure_analysis(context: RolloutContext, state: RolloutState) -> StepResult:
    """Measure a stage that is reached: a failure ends the rollout, what is unclear pauses it, and
    until all has succeeded it waits."""
    stage = context.stage(state)
    measured = _measured(context, state, stage)
    if measured is None:
        return StepResult(state)
    baseline = {**(state.baseline or {}), **measured.baseline}
    state = state.but(analysis=measured.status, baseline=baseline or None)
    name = context.candidate.name
    if measured.phase == AnalysisPhase.FAILED:
        summary = measured.summary()
        return roll_back(context, state, Outcome.ROLLED_BACK, reasons.ANALYSIS_FAILED, summary)
    if measured.phase == AnalysisPhase.INCONCLUSIVE:
        return context.waiting(
            state.but(paused=halt_for(state, HaltReason.INCONCLUSIVE, context.moment)),
            f"the analysis of {name} is inconclusive ({measured.summary()}): promote, resume to "
            f"measure again, or abort",
            reasons.INCONCLUSIVE,
        )
    if measured.phase == AnalysisPhase.RUNNING:
        text = f"{stage.title} is analysed: {measured.summary()}"
        return StepResult(
            state,
            waits=(Wait(reasons.ROLLING_OUT, text, DeploymentPhase.PROGRESSING),),
            queries=measured.queries,
            requeue_at=(measured.next_due,) if measured.next_due is not None else (),
        )
    if _is_recorded(context, state):
        return StepResult(state)
    text = f"{name}, {stage.title}: {measured.summary()}"
    return StepResult(state, events=(Event("Normal", "AnalysisSucceeded", text),))


def measure_while_incomplete(context: RolloutContext, state: RolloutState) -> StepResult:
    """Measure a stage that was reached and has lost a server since: bad figures of the others end
    the rollout all the same. What is good or unclear is judged once the stage is complete again."""
    stage = context.stage(state)
    soon = context.now + timedelta(seconds=1)
    measured = _measured(context, state, stage, until=soon)
    if measured is None or measured.phase not in (AnalysisPhase.RUNNING, AnalysisPhase.FAILED):
        return StepResult(state)
    state = state.but(analysis=measured.status)
    if measured.phase == AnalysisPhase.FAILED:
        summary = measured.summary()
        return roll_back(context, state, Outcome.ROLLED_BACK, reasons.ANALYSIS_FAILED, summary)
    due = () if measured.next_due is None else (measured.next_due,)
    return StepResult(state, queries=measured.queries, requeue_at=due)


def _measured(
    context: RolloutContext, state: RolloutState, stage: Stage, *, until: datetime | None = None
) -> Measured | None:
    """Figures and verdict of a stage that is reached; None if it has no analysis. `until` is when
    good and unclear measurements may decide, by default at the end of the stage's own pause."""
    if stage.analysis is None or state.reached_at is None:
        return None
    before = state.analysis
    same = before is not None and before.content in (None, analysis_content(stage.analysis))
    if before is not None and same and before.over:
        return Measured(before)
    observed, key = context.observed, context.candidate.key
    return measure(
        stage.analysis,
        before,
        Sources(
            candidate=observed.fleet.total(key),
            stable=observed.fleet.total(context.stable.key),
            shadow=observed.fleet.shadowed(key),
            shadowing=stage.kind == SHADOW,
            answers=observed.answers,
            words=placeholders(
                observed.obj,
                model_line=observed.spec.model_line,
                candidate=context.candidate.version,
                stable=context.stable.version,
            ),
            baseline=state.baseline or {},
        ),
        # An analysis that was edited since begins now.
        started=state.reached_at if before is None else context.moment,
        now=context.now,
        until=until or pause_ends(stage, state),
    )


def figures(state: RolloutState) -> str:
    """The figures of the last analysis, for people."""
    metrics = state.analysis.metrics if state.analysis else ()
    return "; ".join(f"{m.name} {m.value:.4g}" for m in metrics if m.value is not None)


def _is_recorded(context: RolloutContext, state: RolloutState) -> bool:
    """Whether the status says already that this stage's analysis has succeeded."""
    before = context.observed.recorded.rollout
    if before is None or before.analysis is None:
        return False
    same = before.revision == state.revision and Place.of(before) == Place.of(state)
    return same and before.analysis.phase == AnalysisPhase.SUCCESSFUL
