"""What a stage's analysis says, and whether it has been told."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.deployment.analysis import INCONCLUSIVE, SUCCESSFUL, Measured, Sources, measure
from modelyard.core.deployment.context import RolloutContext
from modelyard.core.deployment.pauses import pause_ends
from modelyard.core.deployment.stages import SHADOW, Stage


def measured_in(look: RolloutContext, stage: Stage) -> Measured | None:
    """Figures and verdict of a stage that is reached; None if it has no analysis."""
    state = look.out.state
    if stage.analysis is None:
        return None
    before = state.get("analysis")
    if before and before.get("phase") in (SUCCESSFUL, INCONCLUSIVE):
        return Measured(dict(before))
    key = look.candidate.key
    return measure(
        stage.analysis,
        before or {"startedAt": state["reachedAt"]},
        Sources(
            candidate=look.observed.fleet.total(key),
            stable=look.observed.fleet.total(look.stable.key),
            shadow=look.observed.fleet.shadowed(key),
            shadowing=stage.kind == SHADOW,
            answer=look.observed.answer,
            words={
                "candidate": str(look.candidate.version),
                "stable": str(look.stable.version),
                "modelLine": look.observed.spec.model_line,
                "deployment": meta.name(look.observed.obj),
                "namespace": meta.namespace(look.observed.obj),
            },
            baseline=state.get("baseline") or {},
        ),
        look.now,
        pause_ends(look, stage),
    )


def figures(look: RolloutContext) -> str:
    """The figures of the last analysis, for people."""
    metrics = (look.out.state.get("analysis") or {}).get("metrics") or ()
    return "; ".join(f"{m['name']} {m['value']:.4g}" for m in metrics if "value" in m)


def told(look: RolloutContext) -> bool:
    """Whether the object says already that this stage's analysis has succeeded."""
    before = meta.status(look.observed.obj).get("rollout") or {}
    state = look.out.state
    same = all(before.get(k) == state.get(k) for k in ("revision", "stage", "step"))
    return same and (before.get("analysis") or {}).get("phase") == SUCCESSFUL
