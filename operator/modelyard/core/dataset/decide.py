"""What to do about a Dataset.

A Dataset is resolved once for each spec, by a Job that fetches, checks and publishes it
(workloads/data); the digest of the result is what trainings pin. A new spec is another data
version of the same object; the old digest stays in the store for who pinned it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from modelyard.api.dataset import DatasetPhase
from modelyard.contract.result import DataResult
from modelyard.core import meta
from modelyard.core.conditions import READY, RECONCILING, STALLED, Cond
from modelyard.core.dataset import reasons
from modelyard.core.dataset.observed import Observed, observe
from modelyard.core.dataset.resources import data_job
from modelyard.core.disruptions import remembered
from modelyard.core.jobstate import lost_result, stopped
from modelyard.core.namespace_policy import namespace_verdict
from modelyard.core.plan import Apply, Controller, Create, Event, Plan, Ref
from modelyard.core.policy import Verdict
from modelyard.core.statusing import carried, compose, unfinished

RESULT_FIELDS = ("digest", "images", "sizeBytes", "splits", "classes", "classCount", "problems")
FINAL = (DatasetPhase.READY, DatasetPhase.INVALID)


def decide(observed: Observed, now: datetime) -> Plan:
    """Resolve each spec once; a resolved one stays as it is although its Job may be gone.

    Jobs of earlier specs and attempts go before a result is told, whatever came of the first try.
    """
    obj, status = observed.obj, meta.status(observed.obj)
    if meta.deleting(obj):
        return Apply()
    if status.get("runHash") == observed.run_hash and status.get("phase") in FINAL:
        return _keep(observed, now)
    stale = tuple(
        Ref("batch/v1", "Job", meta.namespace(j), meta.name(j), meta.uid(j))
        for j in observed.other_jobs
    )
    plan = _resolve(observed, now)
    return plan if isinstance(plan, Create) else replace(plan, delete=stale)


def _resolve(observed: Observed, now: datetime) -> Plan:
    verdict = namespace_verdict(observed.obj, observed.settings)
    if verdict is not None:
        return Apply(status=_waiting(observed, verdict, now))
    if not observed.job.exists:
        return Create((data_job(observed),))
    silent = observed.job.silent_seconds(now)
    if observed.job.succeeded and silent is None:
        return _finished(observed, now)
    given_up = observed.job.given_up
    if given_up or (observed.job.failed and silent is None):
        reason, message = given_up or observed.job.failure
        failed = Verdict(reason, message, stalled=True, phase=DatasetPhase.FAILED)
        return Apply(
            apply=stopped(observed.job),
            status=_waiting(observed, failed, now),
            events=(Event("Warning", reason, message),),
        )
    reason, message = observed.job.hindrance or (
        reasons.FETCHING,
        "fetching and checking the data",
    )
    going = Verdict(reason, message, phase=DatasetPhase.FETCHING)
    return Apply(status=_waiting(observed, going, now), requeue_after=silent)


def _waiting(observed: Observed, verdict: Verdict, now: datetime) -> dict[str, Any]:
    """Not resolved yet: an earlier version's figures go, so that nobody takes them for this."""
    return unfinished(
        observed.obj,
        verdict,
        own={reasons.VALID: None},
        now=now,
        attempt=observed.attempt,
        runHash=observed.run_hash,
        usedBy=observed.used_by,
        **remembered([observed.job.disrupted]),
    )


def _finished(observed: Observed, now: datetime) -> Plan:
    outcome = observed.job.outcome
    result = outcome.of(DataResult) if outcome else None
    if result is None:
        given_up = lost_result(observed.attempt, observed.job_name)
        if given_up is not None:
            failed = Verdict(*given_up, stalled=True, phase=DatasetPhase.FAILED)
            return Apply(status=_waiting(observed, failed, now))
        # The pod, and with it the result, is gone: the next attempt finds the blobs in the store.
        lost = Verdict(
            reasons.RESULT_LOST,
            "the result was lost with its pod: checking again",
            phase=DatasetPhase.FETCHING,
        )
        return Apply(status=_waiting(observed, lost, now) | {"attempt": observed.attempt + 1})
    fields: dict[str, Any] = {
        k: v
        for k, v in result.model_dump(by_alias=True, exclude_none=True).items()
        if k in RESULT_FIELDS and v not in ([], "")
    }
    phase, event, conds, message = _verdict(result)
    return Apply(
        status=compose(
            observed.obj,
            phase=phase,
            message=message,
            conds=conds,
            now=now,
            attempt=observed.attempt,
            runHash=observed.run_hash,
            usedBy=observed.used_by,
            **fields,
        ),
        events=(event,),
    )


def _verdict(result: DataResult) -> tuple[DatasetPhase, Event, list[Cond], str]:
    if result.valid:
        message = (
            f"{result.images} images in {len(result.splits)} splits, {result.class_count} classes"
        )
        ready = Cond(READY, True, reasons.RESOLVED, message)
        valid = Cond(reasons.VALID, True, reasons.RESOLVED, message)
        return (
            DatasetPhase.READY,
            Event("Normal", reasons.RESOLVED, message),
            [ready, valid],
            message,
        )
    more = result.problem_count - len(result.problems)
    listed = "; ".join(result.problems) + (f"; and {more} more" if more > 0 else "")
    message = f"{max(result.problem_count, len(result.problems))} problems: {listed}"
    bad = [Cond(kind, False, reasons.PROBLEMS_FOUND, message) for kind in (READY, reasons.VALID)]
    bad.append(Cond(STALLED, True, reasons.PROBLEMS_FOUND, "fix the data or the quality rules"))
    return DatasetPhase.INVALID, Event("Warning", reasons.PROBLEMS_FOUND, message), bad, message


def _keep(observed: Observed, now: datetime) -> Plan:
    """Resolved: only who uses it may change."""
    obj = observed.obj
    status = meta.status(obj)
    conds = [
        Cond(c["type"], {"True": True, "False": False}.get(c["status"]), c["reason"], c["message"])
        for c in status.get("conditions") or ()
        if c["type"] != RECONCILING
    ]
    return Apply(
        status=compose(
            obj,
            phase=status["phase"],
            message=status.get("message", ""),
            conds=conds,
            now=now,
            usedBy=observed.used_by,
            **carried(obj, "attempt", "runHash", *RESULT_FIELDS),
        )
    )


CONTROLLER = Controller(
    kind="Dataset",
    observe=observe,
    decide=decide,
    children=("Job", "Pod"),
)
