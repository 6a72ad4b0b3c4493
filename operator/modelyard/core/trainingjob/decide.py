"""What to do about a TrainingJob.

A training has three lives: not started (policies.py says why), running (the Job's state decides),
ended. An ended one is never started again by a changed spec, since its ModelVersion says what it
came from. The ModelVersion is made before the status says Succeeded, so that a crash between the
two repeats the making, which changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.api.trainingjob import TrainingJobPhase as Phase
from modelyard.contract.result import TrainResult
from modelyard.core import meta
from modelyard.core.conditions import READY, STALLED, Cond, timestamp
from modelyard.core.disruptions import remembered
from modelyard.core.jobs import with_suspend
from modelyard.core.jobstate import lost_result, stopped
from modelyard.core.plan import Apply, Controller, Create, Event, KubeObject, Plan, Ref
from modelyard.core.policy import Verdict, first_verdict
from modelyard.core.statusing import carried, compose, unfinished
from modelyard.core.trainingjob import reasons
from modelyard.core.trainingjob.observed import Observed, observe
from modelyard.core.trainingjob.policies import START
from modelyard.core.trainingjob.resources import model_version, training_job

ENDED = (Phase.SUCCEEDED, Phase.FAILED)
KEPT = (
    "startTime", "completionTime", "datasetDigest", "initialWeightsDigest", "weightsDigest",
    "metrics", "images", "validationImages", "attempt", "jobName", "podName", "modelVersion",
    "runHash",
)  # fmt: skip


def decide(observed: Observed, now: datetime) -> Plan:
    """Start once, with inputs pinned in the Job; then follow the Job to a ModelVersion."""
    obj, status = observed.obj, meta.status(observed.obj)
    if meta.deleting(obj):
        return Apply()
    ended = status.get("phase") in ENDED and status.get("runHash")
    if ended and (status["phase"] == Phase.SUCCEEDED or status.get("jobName") == observed.job_name):
        return _keep(observed)
    if not observed.job.exists:
        return _start(observed, now)
    if observed.correctable:
        return _replace(observed, now)
    silent = observed.job.silent_seconds(now)
    if silent is not None:
        return Apply(requeue_after=silent)
    if observed.job.succeeded:
        return _finish(observed, now)
    given_up = observed.job.given_up
    if observed.job.failed or given_up:
        reason, message = given_up or observed.job.failure
        return Apply(
            apply=stopped(observed.job),
            status=_ended(observed, now, Phase.FAILED, reason, message),
            events=(Event("Warning", reason, message),),
        )
    return _follow(observed, now)


def _keep(observed: Observed) -> Plan:
    """Ended: nothing changes any more, but an edit that has no effect is not silent."""
    status = dict(meta.status(observed.obj))
    status.pop("progress", None)
    generation = meta.generation(observed.obj)
    if status.get("observedGeneration") == generation:
        return Apply(status=status)
    status["observedGeneration"] = generation
    if status["runHash"] == observed.spec_hash:
        return Apply(status=status)
    text = "the run has ended and is not repeated for an edited spec: create a new TrainingJob"
    return Apply(status=status, events=(Event("Warning", reasons.EDIT_IGNORED, text),))


def _start(observed: Observed, now: datetime) -> Plan:
    verdict = first_verdict(START, observed)
    if verdict is not None:
        return Apply(
            status=unfinished(
                observed.obj,
                verdict,
                own={reasons.TRAINED: False},
                now=now,
                **carried(observed.obj, "attempt"),
            ),
            events=(Event("Warning", verdict.reason, verdict.message),) if verdict.stalled else (),
        )
    return Create((training_job(observed),))


def _replace(observed: Observed, now: datetime) -> Plan:
    """A Job's template cannot be changed, and no pod of it has started: delete it. The next
    decision finds none and makes it from the present spec."""
    job = observed.job.job
    assert job is not None
    if meta.deleting(job):
        delete: tuple[Ref, ...] = ()
    else:
        space = meta.namespace(observed.obj)
        delete = (Ref("batch/v1", "Job", space, observed.job_name, meta.uid(job)),)
    verdict = Verdict(
        reasons.REPLACING,
        f"the spec was edited before the training pod had started: Job {observed.job_name} is "
        "made again",
    )
    return Apply(delete=delete, status=_going(observed, now, verdict), status_first=True)


def _going(observed: Observed, now: datetime, verdict: Verdict, **fields: Any) -> dict[str, Any]:
    """Status while the run is under way."""
    kept = carried(observed.obj, "startTime", "datasetDigest", "runHash", "podName", "attempt")
    # After an upgrade the Job does not say it, and the status does.
    kept["runHash"] = observed.made_from or kept.get("runHash") or observed.spec_hash
    start = fields.pop("startTime", None)
    if start is not None:
        kept.setdefault("startTime", timestamp(start))
    return unfinished(
        observed.obj,
        verdict,
        own={reasons.TRAINED: False},
        now=now,
        **{
            "attempt": observed.attempt,
            "jobName": observed.job_name,
            **remembered([observed.job.disrupted]),
            **kept,
            **{k: v for k, v in fields.items() if v is not None},
        },
    )


def _follow(observed: Observed, now: datetime) -> Plan:
    """The Job is there and has not ended."""
    apply: tuple[KubeObject, ...] = ()
    job = observed.job
    if job.job is not None and job.suspended != observed.spec.suspend:
        apply = (with_suspend(job.job, observed.spec.suspend),)
    started = observed.started_run or {}
    pinned = {"datasetDigest": started.get("datasetDigest"), "startTime": now}
    made_from = observed.made_from or meta.status(observed.obj).get("runHash")
    edited = made_from not in (None, observed.spec_hash)
    note = (
        " (spec was edited after the start: this run keeps what it was started with)"
        if edited
        else ""
    )
    if observed.spec.suspend:
        verdict = Verdict(
            reasons.SUSPENDED,
            "suspended: resumes from its last checkpoint when spec.suspend is false" + note,
            phase=Phase.SUSPENDED,
        )
        return Apply(apply=apply, status=_going(observed, now, verdict, **pinned))
    if job.trouble is not None:
        reason, message = job.trouble
        phase = Phase.RUNNING if job.running else Phase.PENDING
        verdict = Verdict(reason, message + note, phase=phase)
        return Apply(
            apply=apply,
            status=_going(observed, now, verdict, **pinned),
            events=(Event("Warning", reason, message),),
        )
    if job.working_pod is not None:
        pod = meta.name(job.working_pod)
        verdict = Verdict(reasons.TRAINING, f"training in pod {pod}{note}", phase=Phase.RUNNING)
        pinned["podName"] = pod
        return Apply(apply=apply, status=_going(observed, now, verdict, **pinned))
    return Apply(apply=apply, status=_going(observed, now, _waiting(observed, note), **pinned))


def _waiting(observed: Observed, note: str) -> Verdict:
    """No pod works, and nothing is wrong with the next one: the first is about to start, or another
    one after what became of the last."""
    job = observed.job
    retries = int((job.job or {}).get("status", {}).get("failed") or 0)
    fate = job.last_fate
    if fate and not retries:
        text = f"waiting for a new pod to resume from the last checkpoint: {fate.message}{note}"
        return Verdict(fate.reason, text)
    if not retries:
        return Verdict(reasons.STARTING, "waiting for the training pod to start" + note)
    why = fate.message if fate else "its pod was lost"
    return Verdict(
        reasons.RESUMING,
        f"waiting for pod {retries + 1} of at most {observed.spec.backoff_limit + 1} to resume "
        f"from the last checkpoint: {why}{note}",
    )


def _finish(observed: Observed, now: datetime) -> Plan:
    """The Job is complete: publish the ModelVersion, then say so."""
    outcome = observed.job.outcome
    result = outcome.of(TrainResult) if outcome else None
    if observed.version is not None:
        message = f"trained ModelVersion {meta.name(observed.version)}"
        return Apply(
            status=_ended(observed, now, Phase.SUCCEEDED, reasons.SUCCEEDED, message, result),
        )
    if result is None:
        given_up = lost_result(observed.attempt, observed.job_name)
        if given_up is not None:
            return Apply(status=_ended(observed, now, Phase.FAILED, *given_up))
        # The next attempt finds the finished run in the store and only repeats its result.
        lost = Verdict(reasons.RESULT_LOST, "the result was lost with its pod: reading it again")
        return Apply(status=_going(observed, now, lost) | {"attempt": observed.attempt + 1})
    return Create((model_version(observed, result),))


def _ended(
    observed: Observed,
    now: datetime,
    phase: Phase,
    reason: str,
    message: str,
    result: TrainResult | None = None,
) -> dict[str, Any]:
    good = phase is Phase.SUCCEEDED
    conds = [
        Cond(READY, good, reason, message),
        Cond(reasons.TRAINED, good, reason, message),
    ]
    if not good:
        conds.append(
            Cond(
                STALLED,
                True,
                reason,
                "fix the cause, then set a new value of the "
                f"annotation {meta.RETRY} to resume from the last checkpoint",
            )
        )
    started = observed.started_run or {}
    fields: dict[str, Any] = {
        "runHash": observed.spec_hash,
        "datasetDigest": started.get("datasetDigest"),
        "startTime": timestamp(now),
        **carried(observed.obj, *KEPT),
        "attempt": observed.attempt,
        "jobName": observed.job_name,
        "completionTime": timestamp(now),
        **remembered([observed.job.disrupted]),
    }
    if observed.version is not None:
        fields["modelVersion"] = meta.name(observed.version)
        fields["weightsDigest"] = observed.version["spec"]["weights"]["digest"]
    if result is not None:
        fields["metrics"] = result.metrics
        fields["images"] = result.images
        fields["validationImages"] = result.validation_images
        fields["weightsDigest"] = result.weights_digest
        fields["initialWeightsDigest"] = result.initial_weights_digest
    return compose(observed.obj, phase=phase, message=message, conds=conds, now=now, **fields)


def _number(obj: KubeObject) -> dict[str, int]:
    """A version's number, by its line."""
    return {obj["spec"]["modelLine"]: int(obj["spec"]["version"])}


def _number_made(obj: KubeObject) -> dict[str, int]:
    """The number of the version that a TrainingJob made, by its line: it is not used again as long
    as its training is remembered, even if the version is deleted."""
    line = obj["spec"]["output"]["modelLine"]
    prefix, _, number = str(meta.status(obj).get("modelVersion", "")).rpartition("-")
    return {line: int(number)} if prefix == line and number.isdigit() else {}


def _trained_by(obj: KubeObject) -> tuple[str, ...]:
    uid = ((obj["spec"].get("lineage") or {}).get("trainingJob") or {}).get("uid")
    return (uid,) if uid else ()


CONTROLLER = Controller(
    kind="TrainingJob",
    observe=observe,
    decide=decide,
    children=("Job", "Pod"),
    indexes={
        ("TrainingJob", "number-made"): _number_made,
        ("ModelVersion", "number"): _number,
        ("ModelVersion", "trained-by"): _trained_by,
    },
)
