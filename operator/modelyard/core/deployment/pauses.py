"""What holds a rollout where it is: people, the spec, a step's pause, an unclear analysis."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp, timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.actions import changed_by
from modelyard.core.deployment.context import RolloutContext
from modelyard.core.deployment.history import noted
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.stages import SHADOW, Stage


def heed(look: RolloutContext) -> None:
    """Do what people ask for by actions, but for an abort, and note who asked."""
    state, actions = look.out.state, look.actions
    noted(state, actions, look.now)
    if "pause" in actions:
        state["paused"] = halt({}, "Requested", look.now, actions.users.get("pause"))
    if "resume" in actions or "retry" in actions:
        paused = (state.get("paused") or {}).get("reason")
        if paused == "Inconclusive":
            state.pop("analysis", None)
        state.pop("paused", None)
        state["lastProgressAt"] = timestamp(look.now)
    if "promote" in actions:
        state.pop("paused", None)
        state["promoted"] = True
        if actions.full:
            state["promoteFull"] = True


def held(look: RolloutContext) -> bool:
    """Whether somebody or the spec holds the rollout where it is."""
    state = look.out.state
    if look.observed.spec.rollout.paused:
        state["paused"] = halt(state, "Spec", look.now, changed_by(look.observed.obj))
    elif (state.get("paused") or {}).get("reason") == "Spec":
        state.pop("paused")
        state["lastProgressAt"] = timestamp(look.now)
    return stopped(look.observed, state)


def stopped(observed: Observed, state: Mapping[str, Any] | None) -> bool:
    """Whether the spec or somebody wants nothing to move; `state` is the rollout's, if any."""
    reason = ((state or {}).get("paused") or {}).get("reason")
    return observed.spec.rollout.paused or reason == "Requested"


def pausing(look: RolloutContext, stage: Stage) -> bool:
    """Whether the stage's own pause is still on."""
    state = look.out.state
    if stage.pause is None:
        state.pop("paused", None)
        return False
    if stage.pause.duration is None:
        state["paused"] = halt(state, "Step", look.now)
        name = meta.name(look.observed.obj)
        wait(
            look,
            f"{look.candidate.name} waits after {stage.title} for a promote: "
            f"modelyard rollout promote {name}, or annotate modelyard.dev/promote",
        )
        return True
    until = pause_ends(look, stage)
    assert until is not None
    if look.now >= until:
        state.pop("paused", None)
        return False
    look.out.looks.append(until)
    if stage.kind == SHADOW:  # Its time is no halt.
        look.out.reason = reasons.ROLLING_OUT
        look.out.message = f"{look.candidate.name} is shadowed until {timestamp(until)}"
        return True
    state["paused"] = {**halt(state, "Step", look.now), "until": timestamp(until)}
    wait(look, f"{look.candidate.name} pauses after {stage.title} until {timestamp(until)}")
    return True


def pause_ends(look: RolloutContext, stage: Stage) -> datetime | None:
    """When the stage's own pause, or the shadow, is over by itself."""
    if stage.pause is None or stage.pause.duration is None:
        return None
    span = timedelta(seconds=duration_seconds(stage.pause.duration))
    return parse_timestamp(look.out.state["reachedAt"]) + span


def wait(look: RolloutContext, message: str, reason: str = reasons.PAUSED) -> None:
    """Say what the rollout waits for."""
    look.out.halted = True
    look.out.reason, look.out.message = reason, message


def halt(
    state: dict[str, Any], reason: str, now: datetime, user: str | None = None
) -> dict[str, Any]:
    """An api.rolloutstatus.Halt; one for the same reason goes on as it began."""
    before = state.get("paused") or {}
    if before.get("reason") == reason:
        return {key: before[key] for key in ("reason", "since", "by") if key in before}
    return {"reason": reason, "since": timestamp(now)} | ({"by": user} if user else {})
