"""The stages of a rollout for display: title, state and progress. Pure.

The list of stages and the rollout's position are defined in api/rolloutstages.py, which the
operator uses too. This module adds the titles and notes that `rolloutdraw.py` shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modelyard.api import rolloutstages as declared
from modelyard.api.rollout import Analysis, Pause, Rollout

DONE, RUNNING, WAITING, PAUSED = "Done", "Running", "Waiting", "Paused"


@dataclass(frozen=True)
class Stage:
    """A stage of the rollout, as displayed."""

    title: str
    state: str
    """Done, Running, Paused or Waiting."""
    note: str = ""
    """Its size, pause and metrics."""
    since: str | None = None
    """When it started, if it is the current stage."""
    target: int = 0
    done: int = 0


def stages(spec: Mapping[str, Any], rollout: Mapping[str, Any]) -> tuple[Stage, ...]:
    """All stages of the spec, with the state that follows from `rollout` (status.rollout). Empty if
    the spec is of a newer API and cannot be parsed."""
    try:
        wanted = Rollout.model_validate(spec.get("rollout") or {}, extra="ignore")
    except ValidationError:
        return ()
    edge = bool((spec.get("target") or {}).get("edge"))
    found = declared.stages(wanted, edge=edge)
    at = declared.locate(found, declared.Place.read(rollout)) if rollout else None
    return tuple(_drawn(stage, index, at, wanted, rollout) for index, stage in enumerate(found))


def _drawn(
    stage: declared.Stage,
    index: int,
    at: declared.Position | None,
    wanted: Rollout,
    rollout: Mapping[str, Any],
) -> Stage:
    title, note = _title(stage), _note(stage, wanted)
    if at is None or index != at.index:
        return Stage(title, DONE if at is not None and index in at.passed else WAITING, note)
    return Stage(
        title,
        PAUSED if rollout.get("paused") else RUNNING,
        note,
        since=rollout.get("stageStartedAt"),
        target=int(rollout.get("target") or 0),
        done=int(rollout.get("done") or 0),
    )


def _title(stage: declared.Stage) -> str:
    if stage.kind != declared.STEP:
        return stage.kind.lower()
    if stage.pool is not None:
        return f"pool {stage.pool}"
    if stage.nodes is not None:
        return f"{stage.nodes:,} {'server' if stage.nodes == 1 else 'servers'}"
    return "all servers" if stage.weight == 100 else f"{stage.weight} % of servers"


def _note(stage: declared.Stage, wanted: Rollout) -> str:
    """Size, pause and metrics of a stage. The analysis that all steps share is not repeated."""
    if stage.kind == declared.PRESTAGE:
        return f"fetch and verify, {_share(wanted.prestage_concurrency)} at a time"
    shadow = stage.shadow
    if shadow is not None:
        where = f"on {shadow.servers} servers"
        if isinstance(shadow.servers, str):
            every = shadow.servers == "100%"
            where = "on all servers" if every else f"on {_share(shadow.servers)} of servers"
        note = f"{100 * shadow.share:g} % of requests {where} for {shadow.duration}"
        return _and(note, _names(shadow.analysis))
    own = stage.analysis if stage.analysis is not wanted.analysis else None
    return _and(_pause(stage.pause), _names(own))


def _share(wanted: int | str) -> str:
    """A number, or a percentage with a space before the sign."""
    return wanted.replace("%", " %") if isinstance(wanted, str) else f"{wanted:,}"


def _pause(pause: Pause | None) -> str:
    if pause is None:
        return ""
    return f"pause {pause.duration}" if pause.duration else "until promoted"


def _names(analysis: Analysis | None) -> str:
    names = [metric.name for metric in analysis.metrics] if analysis else []
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"checks {shown}" if shown else ""


def _and(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
