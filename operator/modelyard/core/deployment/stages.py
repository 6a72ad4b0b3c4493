"""The stages of a rollout, from its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.rollout import Analysis, Pause, Rollout, Shadow

PRESTAGE, SHADOW, STEP = "Prestage", "Shadow", "Step"


@dataclass(frozen=True)
class Stage:
    """A part of a rollout that is over before the next one begins."""

    kind: str
    number: int | None = None
    """Of a step, from 1."""
    weight: int | None = None
    nodes: int | None = None
    pool: str | None = None
    pause: Pause | None = None
    analysis: Analysis | None = None
    shadow: Shadow | None = None

    @property
    def title(self) -> str:
        """What the stage is, for people."""
        if self.kind != STEP:
            return self.kind.lower()
        if self.pool is not None:
            return f"step {self.number}, pool {self.pool}"
        if self.nodes is not None:
            return f"step {self.number}, {self.nodes} servers"
        return f"step {self.number}, {self.weight} %"


def stages(rollout: Rollout, *, edge: bool) -> tuple[Stage, ...]:
    """All stages in order; the last one is all servers. A pool means nothing to a cluster target,
    whose servers have none: such a step is left out."""
    found: list[Stage] = []
    if rollout.prestage:
        found.append(Stage(PRESTAGE))
    if rollout.shadow is not None:
        shadow = rollout.shadow
        pause = Pause(duration=shadow.duration)
        found.append(Stage(SHADOW, pause=pause, analysis=shadow.analysis, shadow=shadow))
    number = 0
    for step in rollout.steps:
        if step.pool is not None and not edge:
            continue
        number += 1
        analysis = step.analysis or rollout.analysis
        found.append(Stage(STEP, number, step.weight, step.nodes, step.pool, step.pause, analysis))
    if not found or found[-1].weight != 100:
        found.append(Stage(STEP, number + 1, weight=100, analysis=rollout.analysis))
    return tuple(found)


def position(all_stages: tuple[Stage, ...], state: Mapping[str, Any]) -> int:
    """Where a rollout stands among its stages; a spec that was changed meanwhile leads to the
    nearest stage that is left."""
    kind, step = state["stage"], state.get("step")
    for index, stage in enumerate(all_stages):
        if stage.kind == kind and stage.number == step:
            return index
    if kind != STEP:
        return next(i for i, s in enumerate(all_stages) if s.kind == STEP)
    return len(all_stages) - 1
