"""The state of a rollout that starts, and of one that enters a stage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.core.conditions import timestamp
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.stages import STEP, Stage, stages
from modelyard.core.fleet.figures import value


def begin(
    observed: Observed,
    revision: int,
    trigger: str,
    now: datetime,
    *,
    stable: Release,
    user: str | None = None,
    full: bool = False,
) -> dict[str, Any]:
    """The state of a rollout that starts, by `user` if somebody asked for it; `full` goes through
    it without halts."""
    all_stages = stages(observed.spec.rollout, edge=observed.edge)
    state: dict[str, Any] = {
        "revision": revision,
        "trigger": trigger,
        "startedAt": timestamp(now),
    }
    if user:
        state["by"] = user
    if full:
        state["promoteFull"] = True
    baseline = _baseline(observed, all_stages, stable)
    if baseline:
        state["baseline"] = baseline
    return enter(state, all_stages, 0, now)


def _baseline(
    observed: Observed, all_stages: tuple[Stage, ...], stable: Release
) -> dict[str, float]:
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
                found[metric.name] = figure
    return found


def enter(
    state: dict[str, Any], all_stages: tuple[Stage, ...], index: int, now: datetime
) -> dict[str, Any]:
    """The state at the beginning of a stage; only a pause that somebody asked for goes on."""
    stage = all_stages[index]
    kept = ("revision", "trigger", "by", "startedAt", "promoteFull", "baseline", "actions")
    entered = {key: state[key] for key in kept if key in state}
    entered |= {
        "stage": stage.kind,
        "steps": sum(s.kind == STEP for s in all_stages),
        "stageStartedAt": timestamp(now),
        "lastProgressAt": timestamp(now),
        "target": 0,
        "done": 0,
    }
    if stage.number is not None:
        entered["step"] = stage.number
    if (state.get("paused") or {}).get("reason") == "Requested":
        entered["paused"] = state["paused"]
    return entered
