"""What a Deployment's state is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.core.conditions import READY, RECONCILING, STALLED, Cond
from modelyard.core.deployment import activation, names, reasons
from modelyard.core.deployment.context import StepResult
from modelyard.core.deployment.current_release import made_again
from modelyard.core.deployment.missing import missing
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.resources import label_selector
from modelyard.core.deployment.selection import Tallies
from modelyard.core.fleet.projections import name_in
from modelyard.core.jobstate import POD_TROUBLES
from modelyard.core.policy import Verdict
from modelyard.core.statusing import unfinished

MAX_POOLS = 50


@dataclass(frozen=True)
class Situation:
    """All that the status tells of."""

    stable: Release
    candidate: Release | None
    tallies: Tallies
    """Of the candidate, or of stable without one."""
    problem: Verdict | None
    rejected: Mapping[str, Any] | None
    rollout: StepResult | None
    revision: int
    history: list[Any]
    override: Mapping[str, Any] | None
    actions: Mapping[str, str]
    missing: str = ""
    """What the spec needs that is not installed in the cluster."""


@dataclass(frozen=True)
class Assessment:
    """Phase, reason, message, conditions and the fields of the status."""

    phase: str
    reason: str
    message: str
    conditions: list[Cond]
    fields: dict[str, Any]


def waiting_status(
    observed: Observed, verdict: Verdict, now: datetime, **fields: Any
) -> dict[str, Any]:
    """Nothing was ever served."""
    own: dict[str, bool | None] = {reasons.AVAILABLE: False}
    return unfinished(observed.obj, verdict, own=own, now=now, replicas=0, **fields)


def assess(observed: Observed, situation: Situation) -> Assessment:
    """Names the state. What a person must act on comes before what merely takes time."""
    fields = _fields(observed, situation)
    ready, desired = fields["readyReplicas"], observed.replicas
    serving = situation.stable.name
    verdict = (
        _problem(situation)
        or _rolled_back(situation)
        or _rolling(situation)
        or _missing_servers(observed, situation, fields)
        or _missing_parts(situation)
    )
    note = _other_content(observed, situation)
    if verdict is not None:
        verdict = verdict._replace(message=f"{verdict.message}{note}")
        cannot_run = missing(observed, situation.tallies)
        if cannot_run and verdict.reason not in POD_TROUBLES:
            verdict = verdict._replace(message=f"{verdict.message}; {cannot_run}")
    if verdict is None and desired == 0 and not observed.edge:
        asleep = activation.asleep(observed)
        text = "no request lately: the next one wakes a server" if asleep else "scaled to zero"
        verdict = Verdict(reasons.SUSPENDED, f"{text}; would serve {serving}", phase="Suspended")
        conds = [Cond(READY, True, verdict.reason, verdict.message)]
        available = Cond(reasons.AVAILABLE, False, verdict.reason, verdict.message)
        return Assessment("Suspended", verdict.reason, verdict.message, [*conds, available], fields)
    total = max(desired, situation.tallies.all.servers)
    available = Cond(
        reasons.AVAILABLE,
        ready > 0,
        reasons.SERVING if ready else reasons.NOT_SERVING,
        f"{ready} of {total} servers answer",
    )
    if verdict is None:
        message = f"{ready} of {total} servers answer with {serving}{_aside(fields)}{note}"
        done = Cond(READY, True, reasons.ROLLED_OUT, message)
        still = Cond(reasons.PROGRESSING, False, reasons.ROLLED_OUT, message)
        return Assessment("Healthy", reasons.ROLLED_OUT, message, [done, available, still], fields)
    moving = verdict.phase in ("Progressing", "Paused")
    conds = [
        Cond(READY, False, verdict.reason, verdict.message),
        available,
        Cond(reasons.PROGRESSING, verdict.phase == "Progressing", verdict.reason, verdict.message),
        Cond(RECONCILING if moving else STALLED, True, verdict.reason, verdict.message),
    ]
    return Assessment(verdict.phase, verdict.reason, verdict.message, conds, fields)


def _fields(observed: Observed, situation: Situation) -> dict[str, Any]:
    """Everything of the status but phase and conditions."""
    tallies = situation.tallies
    total = tallies.all
    staged = situation.candidate.key if situation.candidate else None
    fields: dict[str, Any] = {
        "stable": dict(situation.stable.served),
        "desiredReplicas": observed.replicas,
        "replicas": total.servers,
        "readyReplicas": total.ready,
        "updatedReplicas": total.done,
        "selector": label_selector(observed.obj),
        "url": activation.url(observed) or names.url(observed.obj),
        "revision": situation.revision or None,
        "history": situation.history or None,
        "override": situation.override,
        "rejected": situation.rejected,
        "actions": dict(situation.actions) or None,
        "failedReplicas": sum(
            len(places)
            for group, places in observed.fleet.groups.items()
            if group.state == "failed" and group.online
        )
        or None,
    }
    if observed.edge:
        fields["offlineReplicas"] = total.offline
        fields["unfitReplicas"] = total.unfit or None
        edge = observed.spec.target.edge
        if edge is not None and edge.pools is not None:
            fields["pools"] = _pools(tallies, edge.pools.values)
    if situation.candidate is not None and situation.rollout is not None:
        fields["candidate"] = dict(situation.candidate.served)
        fields["rollout"] = situation.rollout.state
        if observed.spec.rollout.prestage:
            fields["stagedReplicas"] = observed.fleet.count(staged=(staged, "done"))
    return fields


def _pools(tallies: Tallies, order: list[str]) -> list[dict[str, Any]]:
    rank = {name: index for index, name in enumerate(order)}
    found = sorted(tallies.pools.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))
    return [
        {
            "name": name,
            "servers": one.servers,
            "updated": one.done,
            "offline": one.offline,
            "failed": one.failed,
        }
        for name, one in found[:MAX_POOLS]
    ]


def _problem(situation: Situation) -> Verdict | None:
    """The wanted version cannot be served; the stable one goes on, if only into new pods."""
    problem = situation.problem
    if problem is None or situation.rejected is not None:
        return None
    message = f"{problem.message}; {situation.stable.name} goes on serving"
    phase = "Degraded" if problem.stalled else "Progressing"
    rolling = _rolling(situation)
    if rolling is not None and rolling.phase != "Progressing":
        message += f"; {rolling.message}"
        phase = "Degraded" if problem.stalled else rolling.phase
    return Verdict(problem.reason, message, phase=phase)


def _rolled_back(situation: Situation) -> Verdict | None:
    rejected = situation.rejected
    if rejected is None or situation.candidate is not None:
        return None
    return Verdict(str(rejected["reason"]), str(rejected["message"]), phase="Degraded")


def _rolling(situation: Situation) -> Verdict | None:
    moved = situation.rollout
    if situation.candidate is None or moved is None:
        return None
    phase = "Degraded" if moved.stuck else "Paused" if moved.halted else "Progressing"
    return Verdict(moved.reason or reasons.ROLLING_OUT, moved.message, phase=phase)


def _missing_servers(
    observed: Observed, situation: Situation, fields: dict[str, Any]
) -> Verdict | None:
    total, serving = situation.tallies.all, situation.stable.name
    for name in sorted(observed.fleet.troubled):
        member = observed.fleet.members[name]
        group = member.group
        if group is None or not group.seen:
            continue
        reason, text = observed.fleet.troubled[name]
        if group.state == "failed":
            held = name_in(member.server.loaded) if member.server else ""
            kept = f"it goes on serving {held}" if held else "it serves nothing"
            text = f"server {name} could not load {serving}, {kept}: {text}"
            return Verdict(reasons.LOAD_FAILED, text, phase="Degraded")
        if not group.ready:
            return Verdict(reason, text, phase="Degraded")
    # On the edge, what cannot be reached follows when it returns; it holds up nobody.
    away = total.unfit + (total.offline if observed.edge else 0)
    desired = max(observed.replicas, total.servers) if observed.edge else observed.replicas
    if total.done + away < desired or (not observed.edge and total.servers != desired):
        return Verdict(
            reasons.WAITING_FOR_SERVERS,
            f"{total.done} of {desired} servers answer with {serving}{_aside(fields)}",
            phase="Progressing",
        )
    if not observed.counted:
        text = f"waiting for the nodes to be counted that are to serve {serving}"
        return Verdict(reasons.WAITING_FOR_SERVERS, text, phase="Progressing")
    return None


def _other_content(observed: Observed, situation: Situation) -> str:
    """That stable's name means another version by now, unless that one is being rolled out."""
    candidate = situation.candidate
    if candidate is not None and candidate.name == situation.stable.name:
        return ""
    text = made_again(observed, situation.stable)
    return f"; {text}" if text else ""


def _missing_parts(situation: Situation) -> Verdict | None:
    if not situation.missing:
        return None
    return Verdict(reasons.NOT_INSTALLED, situation.missing, phase="Degraded")


def _aside(fields: Mapping[str, Any]) -> str:
    offline, unfit = fields.get("offlineReplicas"), fields.get("unfitReplicas")
    parts = [f"{offline} offline"] if offline else []
    parts += [f"{unfit} without a fitting artifact"] if unfit else []
    return f" ({', '.join(parts)})" if parts else ""
