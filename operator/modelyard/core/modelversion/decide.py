"""What to do about a ModelVersion.

Stages in order: export Jobs, evaluation Jobs, the gates (gates.py). The verdict is final: a
version that was Ready or Rejected is never judged again, because others rely on it. What is
gathered first: observed.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from modelyard.api.evaluation import GateResult
from modelyard.api.modelversion import ModelVersionPhase as Phase
from modelyard.core import meta
from modelyard.core.conditions import READY, STALLED, Cond
from modelyard.core.disruptions import remembered
from modelyard.core.jobstate import lost_result, stopped
from modelyard.core.modelversion import names, reasons
from modelyard.core.modelversion.gates import describe, judge
from modelyard.core.modelversion.observed import Observed, observe
from modelyard.core.modelversion.resources import evaluation_job, export_job
from modelyard.core.namespace_policy import namespace_verdict
from modelyard.core.plan import Apply, Controller, Create, Event, KubeObject, Plan
from modelyard.core.policy import Verdict
from modelyard.core.statusing import compose, progress_conditions

FINAL = (Phase.READY, Phase.REJECTED, Phase.FAILED)


def decide(observed: Observed, now: datetime) -> Plan:
    """Export, evaluate, judge; each stage starts when the one before is complete."""
    obj = observed.obj
    if meta.deleting(obj):
        return Apply()
    if meta.status(obj).get("phase") in FINAL:
        return _keep(observed)
    verdict = namespace_verdict(obj, observed.settings)
    if verdict is not None:
        return Apply(status=_status(observed, now, verdict))
    roles = [names.export_role(e.name) for e in observed.spec.exports]
    failed = _failure(observed, (*roles, *(g.role for g in observed.groups)), now)
    if failed is not None:
        return Apply(
            apply=tuple(job for state in observed.jobs.values() for job in stopped(state)),
            status=_status(observed, now, failed),
            events=(Event("Warning", failed.reason, failed.message),),
        )
    missing = [e for e in observed.spec.exports if e.name not in observed.artifacts]
    if missing:
        going = _progress(observed, [names.export_role(e.name) for e in missing], reasons.EXPORTING)
        create = tuple(
            export_job(observed, e)
            for e in missing
            if not observed.jobs[names.export_role(e.name)].exists
        )
        return _go(observed, now, going, create, [names.export_role(e.name) for e in missing])
    waiting = [g for g in observed.groups if not set(g.members) <= observed.evaluations.keys()]
    if waiting:
        going = _progress(observed, [g.role for g in waiting], reasons.VALIDATING)
        create = tuple(
            evaluation_job(observed, g) for g in waiting if not observed.jobs[g.role].exists
        )
        return _go(observed, now, going, create, [g.role for g in waiting])
    return _judge(observed, now)


def _failure(observed: Observed, roles: Iterable[str], now: datetime) -> Verdict | None:
    for role in roles:
        state = observed.jobs[role]
        given_up = state.given_up
        if given_up or (state.failed and state.silent_seconds(now) is None):
            reason, message = given_up or state.failure
            return Verdict(reason, f"{role}: {message}", stalled=True, phase=Phase.FAILED)
    return None


def _progress(observed: Observed, roles: list[str], stage: str) -> Verdict:
    """What is going on in a stage, which is a reason and a phase; a pod's trouble comes first."""
    for role in roles:
        trouble = observed.jobs[role].hindrance
        if trouble is not None:
            return Verdict(trouble[0], f"{role}: {trouble[1]}", phase=Phase(stage))
    return Verdict(stage, f"waiting for {', '.join(roles)}", phase=Phase(stage))


def _go(
    observed: Observed,
    now: datetime,
    going: Verdict,
    create: tuple[KubeObject, ...],
    roles: list[str],
) -> Plan:
    status = _status(observed, now, going)
    silent = [s for role in roles if (s := observed.jobs[role].silent_seconds(now)) is not None]
    lost = next((role for role in roles if observed.jobs[role].succeeded), None)
    if lost is not None and not silent:
        given_up = lost_result(observed.attempt, lost)
        if given_up is not None:
            return Apply(status=_status(observed, now, Verdict(*given_up, True, Phase.FAILED)))
        # A Job is complete and its result is gone with its pod: make what is missing again.
        status["attempt"] = observed.attempt + 1
        return Apply(status=status)
    if create:
        return Create(create)
    return Apply(status=status, requeue_after=min(silent, default=None))


def _status(observed: Observed, now: datetime, verdict: Verdict) -> dict[str, Any]:
    """Status of a version that is not judged yet, or never will be."""
    exported = len(observed.artifacts) == len(observed.spec.exports)
    conds = [
        Cond(READY, False, verdict.reason, verdict.message),
        Cond(
            reasons.EXPORTED,
            exported,
            "Exported" if exported else verdict.reason,
            "" if exported else verdict.message,
        ),
        Cond(reasons.VALIDATED, False, verdict.reason, verdict.message),
        *progress_conditions(verdict),
    ]
    return compose(
        observed.obj,
        phase=verdict.phase,
        message=verdict.message,
        conds=conds,
        now=now,
        **_record(observed),
    )


def _record(observed: Observed) -> dict[str, Any]:
    """Artifacts, figures and profile so far, in the order of the spec."""
    order = [e.name for e in observed.spec.exports]
    artifacts = [observed.artifacts[n] for n in order if n in observed.artifacts]
    evaluations = [
        observed.evaluations[n] for n in (reasons.SOURCE, *order) if n in observed.evaluations
    ]
    return {
        "artifacts": [a.model_dump(by_alias=True, exclude_none=True) for a in artifacts] or None,
        "evaluations": [e.model_dump(by_alias=True, exclude_none=True) for e in evaluations]
        or None,
        "profile": observed.profile.model_dump(by_alias=True, exclude_none=True)
        if observed.profile
        else None,
        "attempt": observed.attempt or None,
        "usedBy": observed.used_by,
        **remembered(state.disrupted for state in observed.jobs.values()),
    }


def _judge(observed: Observed, now: datetime) -> Plan:
    if observed.spec.evaluation.skip:
        return _unvalidated(observed, now)
    results = judge(observed.spec.gates, observed.evaluations)
    failed = [r for r in results if not r.passed]
    figures = {
        key: round(min(observed.evaluations[e.name].metrics.get(key, 0.0)
                       for e in observed.spec.exports), 5)
        for key in ("mAP50", "mAP50to95")
    }  # fmt: skip
    phase, reason, message = _verdict(results, failed, figures)
    good = not failed
    conds = [
        Cond(READY, good, reason, message),
        Cond(reasons.EXPORTED, True, "Exported"),
        Cond(reasons.VALIDATED, good, reason, message),
    ]
    if failed:
        conds.append(Cond(STALLED, True, reason, "a verdict is final: train a better version"))
    return Apply(
        status=compose(
            observed.obj,
            phase=phase,
            message=message,
            conds=conds,
            now=now,
            gates=[r.model_dump(by_alias=True) for r in results] or None,
            **figures,
            **_record(observed),
        ),
        events=(Event("Normal" if good else "Warning", reason, message),),
    )


def _unvalidated(observed: Observed, now: datetime) -> Plan:
    """Exported, and not evaluated because the version says so."""
    message = (
        f"not evaluated ({observed.spec.evaluation.skip}): only Deployments with "
        "allowUnvalidated serve this version"
    )
    conds = [
        Cond(READY, True, reasons.SKIPPED, message),
        Cond(reasons.EXPORTED, True, "Exported"),
        Cond(reasons.VALIDATED, False, reasons.SKIPPED, message),
    ]
    return Apply(
        status=compose(
            observed.obj, phase=Phase.READY, message=message, conds=conds, now=now,
            **_record(observed),
        ),
        events=(Event("Normal", reasons.SKIPPED, message),),
    )  # fmt: skip


def _verdict(
    results: list[GateResult], failed: list[GateResult], figures: dict[str, float]
) -> tuple[Phase, str, str]:
    if failed:
        return Phase.REJECTED, reasons.GATES_NOT_MET, "; ".join(describe(r) for r in failed)
    message = (
        f"passed {len(results)} gates; mAP50 {figures['mAP50']:.3f}, "
        f"mAP50-95 {figures['mAP50to95']:.3f}"
    )
    return Phase.READY, reasons.GATES_PASSED, message


def _keep(observed: Observed) -> Plan:
    """Final: only who uses it may change."""
    status = dict(meta.status(observed.obj))
    status.pop("usedBy", None)
    if observed.used_by:
        status["usedBy"] = observed.used_by
    return Apply(status=status)


CONTROLLER = Controller(
    kind="ModelVersion",
    observe=observe,
    decide=decide,
    children=("Job", "Pod"),
)
