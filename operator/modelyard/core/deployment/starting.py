"""The state of a rollout that starts, and of one that enters a stage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modelyard.api.rolloutstages import STEP, Place, Position, Stage, locate, planned, stages
from modelyard.api.rolloutstatus import HaltReason, RolloutState
from modelyard.core.deployment.analysis import baseline_key
from modelyard.core.deployment.bounds import resolved
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.fleet.figures import value


def begin(
    observed: Observed,
    *,
    revision: int,
    trigger: str,
    stable: Release,
    now: datetime,
    user: str | None = None,
    full: bool = False,
) -> RolloutState:
    """The state of a rollout that starts, by `user` if somebody asked for it; `full` goes through
    it without halts."""
    all_stages = stages(observed.spec.rollout, edge=observed.edge)
    state = RolloutState(
        revision=revision,
        trigger=trigger,
        by=user or None,
        started_at=now,
        stage=all_stages[0].kind,
        steps=0,
        stage_started_at=now,
        last_progress_at=now,
        baseline=_baseline(observed, all_stages, stable) or None,
        promote_full=full or None,
    )
    return enter(state, all_stages, Position(0, frozenset(), edited=False), now)


def _baseline(observed: Observed, all_stages: Sequence[Stage], stable: Release) -> dict[str, float]:
    """Stable's figures before a rollout: what the last stage compares with, when no server has
    stable any more and no stage before it has compared."""
    total = observed.fleet.total(stable.key)
    found = {}
    for stage in all_stages:
        for metric in stage.analysis.metrics if stage.analysis else ():
            if metric.min_ratio is None and metric.max_ratio is None:
                continue
            figure, samples = value(str(metric.metric), total)
            if figure is not None and samples >= metric.min_samples:
                found[baseline_key(metric)] = resolved(str(metric.metric), figure, samples)
    return found


def enter(
    state: RolloutState, all_stages: Sequence[Stage], position: Position, moment: datetime
) -> RolloutState:
    """The state at the beginning of a stage: nothing of the former one's verdicts counts; only a
    pause that somebody asked for goes on."""
    requested = state.paused_for == HaltReason.REQUESTED
    return state.but(
        stage_started_at=moment,
        last_progress_at=moment,
        reached_at=None,
        target=0,
        done=0,
        paused=state.paused if requested else None,
        analysis=None,
        promoted=None,
        **_place(all_stages, position),
    )


def replanned(state: RolloutState, all_stages: Sequence[Stage]) -> RolloutState:
    """The state in a stage that is still there, by the spec as it is now: its number and those
    before and after it may be others."""
    position = locate(all_stages, Place.of(state))
    return state.but(**_place(all_stages, position))


def _place(all_stages: Sequence[Stage], position: Position) -> dict[str, object]:
    stage = all_stages[position.index]
    return {
        "stage": stage.kind,
        "step": stage.number,
        "steps": sum(one.kind == STEP for one in all_stages),
        **planned(all_stages, position),
    }
