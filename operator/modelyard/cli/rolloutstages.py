"""The stages that a rollout has by its spec, marked by where it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DONE, RUNNING, WAITING, PAUSED = "Done", "Running", "Waiting", "Paused"


@dataclass(frozen=True)
class Stage:
    """A part of the rollout."""

    title: str
    state: str
    """Done, Running, Paused or Waiting."""
    note: str = ""
    """What belongs to it: how much, and what follows it."""
    since: str | None = None
    """When it started, of the present stage."""
    target: int = 0
    done: int = 0


def stages(spec: Mapping[str, Any], rollout: Mapping[str, Any]) -> tuple[Stage, ...]:
    """All stages that the spec has, marked by where the rollout stands."""
    wanted = spec.get("rollout") or {}
    edge = bool((spec.get("target") or {}).get("edge"))
    plain = [(kind, step, title, note) for kind, step, title, note in _planned(wanted, edge=edge)]
    at = _position(plain, rollout)
    made = []
    for index, (_, _, title, note) in enumerate(plain):
        if index != at:
            made.append(Stage(title, DONE if at is not None and index < at else WAITING, note))
            continue
        made.append(
            Stage(
                title,
                PAUSED if rollout.get("paused") else RUNNING,
                note,
                since=rollout.get("stageStartedAt"),
                target=int(rollout.get("target") or 0),
                done=int(rollout.get("done") or 0),
            )
        )
    return tuple(made)


_Planned = tuple[str, int | None, str, str]


def _planned(wanted: Mapping[str, Any], *, edge: bool) -> list[_Planned]:
    """(stage, step, title, note) of each stage; the last one is always all servers."""
    found: list[_Planned] = []
    if wanted.get("prestage"):
        limit = _share(wanted.get("prestageConcurrency", "10%"))
        found.append(("Prestage", None, "prestage", f"fetch and verify, {limit} at a time"))
    shadow = wanted.get("shadow")
    if shadow is not None:
        share = f"{100 * float(shadow.get('share', 0.1)):g} % of requests"
        servers = shadow.get("servers", "100%")
        where = f"on {servers} servers"
        if isinstance(servers, str):
            where = "on all servers" if servers == "100%" else f"on {_share(servers)} of servers"
        note = f"{share} {where} for {shadow.get('duration', '10m')}"
        found.append(("Shadow", None, "shadow", _and(note, _names(shadow.get("analysis")))))
    number, last = 0, 0
    for step in wanted.get("steps") or ():
        if step.get("pool") and not edge:
            continue  # A cluster's servers are in no pool.
        number, last = number + 1, step.get("weight") or 0
        note = _and(_pause(step.get("pause")), _names(step.get("analysis")))
        found.append(("Step", number, _title(step), note))
    if last != 100:
        found.append(("Step", number + 1, "all servers", ""))
    return found


def _share(wanted: int | str) -> str:
    """A number, or a percentage as it is written elsewhere."""
    return wanted.replace("%", " %") if isinstance(wanted, str) else f"{wanted:,}"


def _title(step: Mapping[str, Any]) -> str:
    if step.get("pool"):
        return f"pool {step['pool']}"
    if step.get("nodes"):
        return f"{step['nodes']:,} {'server' if step['nodes'] == 1 else 'servers'}"
    return "all servers" if step.get("weight") == 100 else f"{step.get('weight')} % of servers"


def _pause(pause: Mapping[str, Any] | None) -> str:
    if pause is None:
        return ""
    return f"pause {pause['duration']}" if pause.get("duration") else "until promoted"


def _names(analysis: Mapping[str, Any] | None) -> str:
    names = [str(m.get("name")) for m in (analysis or {}).get("metrics") or ()]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"checks {shown}" if shown else ""


def _and(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _position(planned: list[_Planned], rollout: Mapping[str, Any]) -> int | None:
    """Index of the present stage; None if no rollout is going on."""
    if not rollout:
        return None
    present = (rollout.get("stage"), rollout.get("step"))
    for index, (kind, step, _, _) in enumerate(planned):
        if (kind, step) == present:
            return index
    # The spec was changed meanwhile.
    return len(planned) - 1 if rollout.get("stage") == "Step" else 0
