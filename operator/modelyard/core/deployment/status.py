"""What a Deployment's state is called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from modelyard.core.conditions import READY, RECONCILING, STALLED, Cond, parse_timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.rollout import Round
from modelyard.core.policy import Verdict
from modelyard.core.statusing import unfinished


@dataclass(frozen=True)
class Assessment:
    """Phase, reason, message and conditions."""

    phase: str
    reason: str
    message: str
    conditions: list[Cond]


def waiting_status(observed: Observed, verdict: Verdict, now: datetime) -> dict[str, Any]:
    """Nothing was ever served."""
    return unfinished(observed.obj, verdict, own={reasons.AVAILABLE: False}, now=now, replicas=0)


def assess(
    observed: Observed, step: Round, problem: Verdict | None, fields: dict[str, Any], now: datetime
) -> Assessment:
    """Names the state. What a person must act on comes before what merely takes time."""
    ready, desired = fields["readyReplicas"], observed.replicas
    verdict = (
        problem_with_target(problem, fields)
        or _failed_load(step, fields)
        or _too_slow(observed, fields, now)
        or _missing_servers(observed, step, fields)
    )
    serving = fields["stable"]["modelVersion"]
    if verdict is None and desired == 0:
        verdict = Verdict(
            reasons.SUSPENDED, f"scaled to zero; would serve {serving}", phase="Suspended"
        )
        conds = [Cond(READY, True, verdict.reason, verdict.message)]
        available = Cond(reasons.AVAILABLE, False, verdict.reason, verdict.message)
        return Assessment("Suspended", verdict.reason, verdict.message, [*conds, available])
    available = Cond(
        reasons.AVAILABLE,
        ready > 0,
        reasons.SERVING if ready else reasons.NOT_SERVING,
        f"{ready} of {desired} servers answer",
    )
    if verdict is None:
        message = f"{ready} of {desired} servers answer with {serving}"
        done = Cond(READY, True, reasons.ROLLED_OUT, message)
        still = Cond(reasons.PROGRESSING, False, reasons.ROLLED_OUT, message)
        return Assessment("Healthy", reasons.ROLLED_OUT, message, [done, available, still])
    moving = verdict.phase == "Progressing"
    conds = [
        Cond(READY, False, verdict.reason, verdict.message),
        available,
        Cond(reasons.PROGRESSING, moving, verdict.reason, verdict.message),
        Cond(RECONCILING if moving else STALLED, True, verdict.reason, verdict.message),
    ]
    return Assessment(verdict.phase, verdict.reason, verdict.message, conds)


def problem_with_target(problem: Verdict | None, fields: dict[str, Any]) -> Verdict | None:
    """The wanted version cannot be served; the stable one goes on."""
    if problem is None:
        return None
    message = f"{problem.message}; {fields['stable']['modelVersion']} goes on serving"
    return Verdict(problem.reason, message, phase="Degraded" if problem.stalled else "Progressing")


def _failed_load(step: Round, fields: dict[str, Any]) -> Verdict | None:
    for server in step.switching:
        failure = server.load_failure
        if failure is None:
            continue
        held = server.loaded
        kept = f"it goes on serving version {held['version']}" if held else "it serves nothing"
        version = (fields.get("candidate") or fields["stable"])["modelVersion"]
        return Verdict(
            reasons.LOAD_FAILED,
            f"server {server.name} could not load {version}, {kept}: {failure}",
            phase="Degraded",
        )
    return None


def _too_slow(observed: Observed, fields: dict[str, Any], now: datetime) -> Verdict | None:
    candidate = fields.get("candidate")
    if candidate is None:
        return None
    limit = observed.spec.rollout.progress_deadline_seconds
    if now - parse_timestamp(fields["lastProgressAt"]) <= timedelta(seconds=limit):
        return None
    return Verdict(
        reasons.DEADLINE_EXCEEDED,
        f"no server has switched to {candidate['modelVersion']} for {limit} s: "
        f"{fields['updatedReplicas']} of {fields['replicas']} have",
        phase="Degraded",
    )


def _missing_servers(observed: Observed, step: Round, fields: dict[str, Any]) -> Verdict | None:
    candidate, desired = fields.get("candidate"), observed.replicas
    if candidate is not None:
        return Verdict(
            reasons.ROLLING_OUT,
            f"{step.updated} of {fields['replicas']} servers have switched to "
            f"{candidate['modelVersion']}",
            phase="Progressing",
        )
    for server in observed.servers:
        trouble = None if server.ready else server.trouble
        if trouble is not None:
            return Verdict(trouble[0], trouble[1], phase="Degraded")
    if step.updated < desired or len(observed.servers) != desired:
        return Verdict(
            reasons.WAITING_FOR_SERVERS,
            f"{step.updated} of {desired} servers answer with {fields['stable']['modelVersion']}",
            phase="Progressing",
        )
    return None
