"""The stages of a rollout, and where it stands among them.

One place for both: the operator acts by it and the command-line interface draws it. A stage is
identified by its content, not by its index, because steps may be edited during a rollout:

    steps: 10 %, 50 % until promoted        at the second, then the first is removed:
    steps: 50 % until promoted              still at "50 % until promoted", which still waits

`locate` finds the place; core/deployment/rollout.py goes on from there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.rollout import Analysis, Pause, Rollout, Shadow
from modelyard.api.rolloutstatus import RolloutState, StageKind

PRESTAGE, SHADOW, STEP = StageKind.PRESTAGE, StageKind.SHADOW, StageKind.STEP


@dataclass(frozen=True)
class Stage:
    """A part of a rollout that is over before the next one begins."""

    kind: StageKind
    number: int | None = None
    """Of a step, from 1."""
    weight: int | None = None
    nodes: int | None = None
    pool: str | None = None
    pause: Pause | None = None
    analysis: Analysis | None = None
    shadow: Shadow | None = None
    identity: str = ""
    """What the stage does, such as `50% until promoted`; unique among the stages of a rollout."""

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

    @property
    def manual(self) -> bool:
        """Whether it waits until somebody promotes."""
        return self.pause is not None and self.pause.duration is None


@dataclass(frozen=True)
class Place:
    """Where a rollout stands, as its status says."""

    kind: str
    step: int | None = None
    plan: tuple[str, ...] = ()
    passed: int = 0

    @classmethod
    def of(cls, state: RolloutState) -> Place:
        """The place that a rollout's state notes."""
        return cls(state.stage, state.step, state.plan or (), state.passed or 0)

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Place:
        """Of status.rollout in its wire format, which may be that of any operator."""
        return cls(
            kind=str(status.get("stage") or ""),
            step=status.get("step"),
            plan=tuple(status.get("plan") or ()),
            passed=int(status.get("passed") or 0),
        )


@dataclass(frozen=True)
class Position:
    """Where a rollout stands among the stages that its spec has now."""

    index: int
    passed: frozenset[int]
    """Indexes of the stages that are over."""
    edited: bool
    """Whether the spec's steps were edited such that it has to enter this stage anew."""


def stages(rollout: Rollout, *, edge: bool) -> tuple[Stage, ...]:
    """All stages in order; the last one is all servers. A pool means nothing to a cluster target,
    whose servers have none: such a step is left out."""
    found: list[Stage] = []
    seen: Counter[str] = Counter()

    def add(kind: StageKind, **fields: Any) -> None:
        stage = Stage(kind, **fields)
        content = _content(stage)
        seen[content] += 1
        identity = content if seen[content] == 1 else f"{content} #{seen[content]}"
        found.append(Stage(kind, **fields, identity=identity))

    if rollout.prestage:
        add(PRESTAGE)
    if rollout.shadow is not None:
        shadow = rollout.shadow
        pause = Pause(duration=shadow.duration)
        add(SHADOW, pause=pause, analysis=shadow.analysis, shadow=shadow)
    number = 0
    for step in rollout.steps:
        if step.pool is not None and not edge:
            continue
        number += 1
        add(
            STEP,
            number=number,
            weight=step.weight,
            nodes=step.nodes,
            pool=step.pool,
            pause=step.pause,
            analysis=step.analysis or rollout.analysis,
        )
    if not found or found[-1].weight != 100:
        add(STEP, number=number + 1, weight=100, analysis=rollout.analysis)
    return tuple(found)


def _content(stage: Stage) -> str:
    """What servers a stage moves and whether it waits for somebody. How long a timed pause is and
    what is measured may be edited without leaving the stage."""
    if stage.kind != STEP:
        return stage.kind.lower()
    what = f"pool {stage.pool}" if stage.pool is not None else f"{stage.weight}%"
    if stage.nodes is not None:
        what = f"{stage.nodes} servers"
    return f"{what} until promoted" if stage.manual else what


def analysis_content(analysis: Analysis) -> str:
    """Hash of what an analysis measures, against which bounds."""
    text = analysis.model_dump_json(by_alias=True, exclude_none=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def locate(all_stages: Sequence[Stage], place: Place) -> Position:
    """Where a rollout stands.

    The rules for steps that were edited meanwhile:

    1. A stage that was passed stays passed wherever it is now; the first one that was not is the
       present one. So a new step in front, or a pause put into a passed one, waits again.
    2. Where the present stage was removed and only later ones are left to do, the rollout returns
       to the last passed one that waits for a promote: nobody moves on without.
    3. Prestage and shadow come only before the first step.
    """
    if not place.plan:
        return _by_number(all_stages, place)
    index = {stage.identity: i for i, stage in enumerate(all_stages)}
    present = place.plan[min(place.passed, len(place.plan) - 1)]
    over = [one for one in place.plan[: place.passed] if one in index]
    passed = {index[one] for one in over}
    if place.kind == STEP:
        passed |= {i for i, stage in enumerate(all_stages) if stage.kind != STEP}
    left = [i for i in range(len(all_stages)) if i not in passed]
    if present not in index:
        later = set(place.plan[place.passed + 1 :])
        waiting = [index[one] for one in over if all_stages[index[one]].manual]
        if waiting and (not left or all_stages[left[0]].identity in later):
            passed.discard(waiting[-1])
            left = [waiting[-1]]
    found = left[0] if left else len(all_stages) - 1
    passed.discard(found)
    return Position(found, frozenset(passed), all_stages[found].identity != present)


def _by_number(all_stages: Sequence[Stage], place: Place) -> Position:
    """For the status of an operator that kept no plan: by kind and number of the step."""
    found = len(all_stages) - 1
    for index, stage in enumerate(all_stages):
        if (stage.kind, stage.number) == (place.kind, place.step):
            found = index
            break
    else:
        if place.kind != STEP:
            found = next(i for i, stage in enumerate(all_stages) if stage.kind == STEP)
    return Position(found, frozenset(range(found)), edited=False)


def planned(all_stages: Sequence[Stage], position: Position) -> dict[str, Any]:
    """The fields `plan` and `passed` of a rollout's status at a position."""
    passed = [s.identity for i, s in enumerate(all_stages) if i in position.passed]
    ahead = [
        s.identity
        for i, s in enumerate(all_stages)
        if i not in position.passed and i != position.index
    ]
    plan = (*passed, all_stages[position.index].identity, *ahead)
    return {"plan": plan, "passed": len(passed)}


def after(all_stages: Sequence[Stage], position: Position) -> Position | None:
    """The position once the present stage is over; None after the last one."""
    passed = position.passed | {position.index}
    left = [i for i in range(len(all_stages)) if i not in passed]
    return Position(left[0], passed, edited=True) if left else None
