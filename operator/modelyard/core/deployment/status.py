"""The status of a Deployment: phase, message, conditions and fields.

What a rollout waits for is decided in rollout.py and its parts; here it gets its place among all
that there may be to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rollbacktarget import rollback_target
from modelyard.api.rolloutstatus import Override
from modelyard.contract.naming import version_name
from modelyard.core import meta
from modelyard.core.conditions import READY, RECONCILING, STALLED, Cond
from modelyard.core.deployment import activation, names, reasons
from modelyard.core.deployment.current_release import made_again
from modelyard.core.deployment.drifting import NOT_MONITORED, Judgement
from modelyard.core.deployment.lifecycle import Course
from modelyard.core.deployment.missing import behind, missing, overdue, refusal
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.recorded import Recorded
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.resources import label_selector
from modelyard.core.deployment.selection import Tallies
from modelyard.core.fleet.member import Assigned
from modelyard.core.fleet.projections import Side, name_in
from modelyard.core.podstate import POD_TROUBLES
from modelyard.core.policy import Verdict
from modelyard.core.statusing import unfinished

MAX_POOLS = 50

MANY_ENDED = 3
"""Pods in a row that their nodes end before somebody is asked to act."""


@dataclass(frozen=True)
class Situation:
    """All that the status says."""

    course: Course
    problem: Verdict | None
    override: Override | None
    actions: Mapping[str, str]
    missing: str = ""
    """What the spec needs that is not installed in the cluster."""
    template: str = ""
    """Hash of the pod template of a cluster target's servers; see resources.settings_hash."""
    refused: str = ""
    """Why servers neither sleep nor wake: the API server's words to the activator."""
    monitoring: Judgement = NOT_MONITORED

    @property
    def recorded(self) -> Recorded:
        """What the next decision finds."""
        course = self.course
        return Recorded(
            stable=course.stable.served,
            candidate=course.candidate.served if course.candidate else None,
            rollout=course.state,
            rejected=course.rejected,
            override=self.override,
            history=course.history,
            revision=course.revision,
            actions=dict(self.actions),
            monitoring=self.monitoring.status,
        )


@dataclass(frozen=True)
class Assessment:
    """Phase, reason, message, conditions and the fields of the status."""

    phase: DeploymentPhase
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
    """Names the state, with what monitoring found beside it: a Deployment that drifts serves as
    well as before."""
    found = _assess(observed, situation)
    return replace(found, conditions=[*found.conditions, *situation.monitoring.conditions])


def _assess(observed: Observed, situation: Situation) -> Assessment:
    """What a person must act on comes before what merely takes time."""
    fields = _fields(observed, situation)
    verdict = (
        _refused_line(observed, situation)
        or _problem(situation)
        or _rolled_back(situation)
        or _rolling(situation)
        or _missing_servers(observed, situation, fields)
        or _missing_parts(situation)
        or _refused_scaling(situation)
        or _without_servers(observed)
    )
    note = _other_content(observed, situation)
    if verdict is not None and verdict.phase == DeploymentPhase.SUSPENDED:
        return _suspended(situation, verdict._replace(message=f"{verdict.message}{note}"), fields)
    if verdict is not None:
        cannot_run = missing(observed, situation.course.tallies)
        more = f"; {cannot_run}" if cannot_run and verdict.reason not in POD_TROUBLES else ""
        verdict = verdict._replace(message=f"{verdict.message}{note}{more}")
    serving, ready = situation.course.stable.name, fields["readyReplicas"]
    total = max(observed.replicas, situation.course.tallies.all.servers)
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
        conds = [done, available, still]
        return Assessment(DeploymentPhase.HEALTHY, reasons.ROLLED_OUT, message, conds, fields)
    phase = DeploymentPhase(verdict.phase)
    progressing = phase == DeploymentPhase.PROGRESSING
    moving = progressing or phase == DeploymentPhase.PAUSED
    conds = [
        Cond(READY, False, verdict.reason, verdict.message),
        available,
        Cond(reasons.PROGRESSING, progressing, verdict.reason, verdict.message),
        Cond(RECONCILING if moving else STALLED, True, verdict.reason, verdict.message),
    ]
    return Assessment(phase, verdict.reason, verdict.message, conds, fields)


def _suspended(situation: Situation, verdict: Verdict, fields: dict[str, Any]) -> Assessment:
    """There is no server, as it should be."""
    message = f"{verdict.message}; would serve {situation.course.stable.name}"
    conds = [
        Cond(READY, True, reasons.SUSPENDED, message),
        Cond(reasons.AVAILABLE, False, reasons.SUSPENDED, message),
    ]
    return Assessment(DeploymentPhase.SUSPENDED, reasons.SUSPENDED, message, conds, fields)


def _without_servers(observed: Observed) -> Verdict | None:
    if observed.replicas or observed.edge:
        return None
    asleep = activation.asleep(observed)
    text = "no request lately: the next one wakes a server" if asleep else "scaled to zero"
    return Verdict(reasons.SUSPENDED, text, phase=DeploymentPhase.SUSPENDED)


def _fields(observed: Observed, situation: Situation) -> dict[str, Any]:
    """Everything of the status but phase and conditions."""
    course, recorded = situation.course, situation.recorded
    total = course.tallies.all
    history = [one.wire() for one in recorded.history]
    fields: dict[str, Any] = {
        "stable": recorded.stable.wire() if recorded.stable else None,
        "desiredReplicas": observed.replicas,
        "replicas": total.servers,
        "readyReplicas": total.ready,
        "updatedReplicas": total.done,
        "selector": label_selector(observed.obj),
        "url": activation.url(observed) or names.url(observed.obj),
        "revision": recorded.revision or None,
        "history": history or None,
        "rollbackTarget": _rollback_target(observed, history, course.stable),
        "override": recorded.override.wire() if recorded.override else None,
        "rejected": recorded.rejected.wire() if recorded.rejected else None,
        "actions": recorded.actions or None,
        "monitoring": recorded.monitoring.wire() if recorded.monitoring else None,
        "failedReplicas": sum(
            len(places)
            for group, places in observed.fleet.groups.items()
            if group.state is Assigned.FAILED and group.online
        )
        or None,
    }
    if observed.edge:
        fields["offlineReplicas"] = total.offline
        fields["unfitReplicas"] = total.unfit or None
        edge = observed.spec.target.edge
        if edge is not None and edge.pools is not None:
            fields["pools"] = _pools(course.tallies, edge.pools.values)
    if course.candidate is not None and recorded.rollout is not None:
        fields["candidate"] = course.candidate.served.wire()
        fields["rollout"] = recorded.rollout.wire()
        if observed.spec.rollout.prestage:
            fields["stagedReplicas"] = observed.fleet.count(
                staged=(course.candidate.key, Side.DONE)
            )
    return fields


def _rollback_target(
    observed: Observed, history: list[dict[str, Any]], stable: Release
) -> str | None:
    """The ModelVersion that served before stable. It stays known when rollouts that failed since
    have pushed the last one that succeeded out of the history."""
    number = rollback_target(history, stable.version)
    if number is not None:
        return version_name(observed.spec.model_line, number)
    before = meta.status(observed.obj).get("rollbackTarget")
    return before if before != stable.name else None


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


def _refused_line(observed: Observed, situation: Situation) -> Verdict | None:
    """The spec names another model line than the one that serves, which goes on."""
    serves, other = observed.spec.model_line, observed.refused_line
    if not other:
        return None
    text = (
        f"spec.modelLine cannot change from {serves} to {other}: the servers go on with {serves}. "
        f"Set it back to {serves}, or make another Deployment for {other}"
    )
    rolling = _rolling(situation)
    text += f"; {rolling.message}" if rolling is not None else ""
    return Verdict(reasons.MODEL_LINE_CHANGED, text, phase=DeploymentPhase.DEGRADED)


def _problem(situation: Situation) -> Verdict | None:
    """The wanted version cannot be served; the stable one goes on, if only into new pods."""
    problem = situation.problem
    if problem is None or situation.course.rejected is not None:
        return None
    message = f"{problem.message}; {situation.course.stable.name} goes on serving"
    phase = DeploymentPhase.DEGRADED if problem.stalled else DeploymentPhase.PROGRESSING
    rolling = _rolling(situation)
    waits = (DeploymentPhase.PAUSED, DeploymentPhase.DEGRADED)
    if rolling is not None and rolling.phase in waits:
        message += f"; {rolling.message}"
        phase = phase if problem.stalled else DeploymentPhase(rolling.phase)
    return Verdict(problem.reason, message, phase=phase)


def _rolled_back(situation: Situation) -> Verdict | None:
    rejected = situation.course.rejected
    if rejected is None or situation.course.candidate is not None:
        return None
    return Verdict(rejected.reason, rejected.message, phase=DeploymentPhase.DEGRADED)


def _rolling(situation: Situation) -> Verdict | None:
    """What the rollout that is going on waits for."""
    rollout = situation.course.rollout
    if situation.course.candidate is None or rollout is None or rollout.wait is None:
        return None
    wait = rollout.wait
    return Verdict(wait.reason, wait.message, phase=wait.phase)


def _missing_servers(
    observed: Observed, situation: Situation, fields: dict[str, Any]
) -> Verdict | None:
    total, serving = situation.course.tallies.all, situation.course.stable.name
    for name in sorted(observed.fleet.troubled):
        member = observed.fleet.members[name]
        group = member.group
        if group is None or not group.seen:
            continue
        reason, text = observed.fleet.troubled[name]
        if group.state is Assigned.FAILED:
            held = name_in(member.server.loaded) if member.server else ""
            kept = f"it goes on serving {held}" if held else "it serves nothing"
            text = f"server {name} could not load {serving}, {kept}: {text}"
            return Verdict(reasons.LOAD_FAILED, text, phase=DeploymentPhase.DEGRADED)
        if not group.ready:
            return Verdict(reason, text, phase=DeploymentPhase.DEGRADED)
    # On the edge, what cannot be reached follows when it returns; it holds up nobody.
    away = total.unfit + (total.offline if observed.edge else 0)
    desired = max(observed.replicas, total.servers) if observed.edge else observed.replicas
    text = f"{total.done} of {desired} servers answer with {serving}{_aside(fields)}"
    unfinished = behind(observed, situation.template)
    lacking = total.done + away < desired or (not observed.edge and total.servers != desired)
    if lacking or unfinished:
        return _incomplete(observed, f"{text}; {unfinished}" if unfinished else text)
    if not observed.counted:
        text = f"waiting for the nodes to be counted that are to serve {serving}"
        return Verdict(reasons.WAITING_FOR_SERVERS, text, phase=DeploymentPhase.PROGRESSING)
    return None


def _incomplete(observed: Observed, text: str) -> Verdict:
    """Servers are missing, or have an earlier spec's settings: why, as far as Kubernetes says. What
    the API server refuses is worth waiting for until the deadline of the rollout; pods that their
    nodes end one after the other are not."""
    failing, refused = observed.fleet.failing(), refusal(observed)
    reason, phase = reasons.WAITING_FOR_SERVERS, DeploymentPhase.PROGRESSING
    if failing is not None:
        count, fate = failing
        many = count >= MANY_ENDED
        row = f" ({MANY_ENDED} or more pods in a row)" if many else ""
        reason, text = fate.reason, f"{text}; {fate.message}{row}"
        phase = DeploymentPhase.DEGRADED if many else phase
    if refused is not None:
        reason = refused.reason  # Its words follow in any case, see assess.
    if overdue(observed):
        phase = DeploymentPhase.DEGRADED
    return Verdict(reason, text, phase=phase)


def _other_content(observed: Observed, situation: Situation) -> str:
    """That stable's name means another version by now, unless that one is being rolled out."""
    stable, candidate = situation.course.stable, situation.course.candidate
    if candidate is not None and candidate.name == stable.name:
        return ""
    text = made_again(observed, stable)
    return f"; {text}" if text else ""


def _missing_parts(situation: Situation) -> Verdict | None:
    if not situation.missing:
        return None
    return Verdict(reasons.NOT_INSTALLED, situation.missing, phase=DeploymentPhase.DEGRADED)


def _refused_scaling(situation: Situation) -> Verdict | None:
    if not situation.refused:
        return None
    text = (
        f"the activator may not scale the servers: {situation.refused}; allow it, or remove "
        "spec.target.cluster.scaleToZero"
    )
    return Verdict(reasons.SCALING_REFUSED, text, phase=DeploymentPhase.DEGRADED)


def _aside(fields: Mapping[str, Any]) -> str:
    offline, unfit = fields.get("offlineReplicas"), fields.get("unfitReplicas")
    parts = [f"{offline} offline"] if offline else []
    parts += [f"{unfit} without a fitting artifact"] if unfit else []
    return f" ({', '.join(parts)})" if parts else ""
