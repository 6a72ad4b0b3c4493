"""What to do about a Modelyard Deployment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp, timestamp
from modelyard.core.deployment import names
from modelyard.core.deployment.observed import Observed, observe
from modelyard.core.deployment.resources import label_selector, model_server, service, workload
from modelyard.core.deployment.rollout import Round, most_unavailable, next_round
from modelyard.core.deployment.status import Assessment, assess, waiting_status
from modelyard.core.deployment.target import target
from modelyard.core.plan import Controller, Event, Key, Manifest, Plan, Ref, View
from modelyard.core.policy import Verdict
from modelyard.core.prepared import namespace_verdict
from modelyard.core.statusing import compose

IDENTITY = ("modelVersion", "artifact", "digest")


def decide(observed: Observed, now: datetime) -> Plan:
    """Serve the stable version always; move servers to the target in rounds."""
    obj = observed.obj
    if meta.deleting(obj):
        return Plan()
    stable = meta.status(obj).get("stable")
    unprepared = namespace_verdict(obj, observed.settings)
    wanted = unprepared or target(observed)
    problem = wanted if isinstance(wanted, Verdict) else None
    if problem is not None and stable is None:
        return Plan(status=waiting_status(observed, problem, now))
    # Without a servable target the stable version goes on serving.
    goal: dict[str, Any] = dict(stable) if isinstance(wanted, Verdict) else wanted  # type: ignore[arg-type]
    stable = stable or goal
    budget = most_unavailable(observed.spec.rollout.max_unavailable, len(observed.servers))
    step = next_round(
        observed.servers,
        target=_assignment(observed, goal),
        start=_assignment(observed, stable),
        budget=budget,
    )
    if step.complete or not observed.servers:
        # With no server there is nobody to wait for; a new one starts with the target.
        stable = goal
    candidate = goal if not _same(goal, stable) else None
    fields = _rollout_fields(observed, step, stable, candidate, now)
    report = assess(observed, step, problem, fields, now)
    return Plan(
        apply=(
            service(observed),
            workload(observed),
            *(model_server(observed, s, step.assign[s.name]) for s in observed.servers),
        ),
        delete=tuple(
            Ref(API_VERSION, "ModelServer", meta.namespace(m), meta.name(m), meta.uid(m))
            for m in observed.orphans
        ),
        status=compose(
            obj,
            phase=report.phase,
            message=report.message,
            conds=report.conditions,
            now=now,
            **fields,
        ),
        events=_events(observed, report, stable, candidate),
        requeue_after=_next_look(observed, fields, candidate, now),
    )


def _assignment(observed: Observed, version: Manifest) -> dict[str, Any]:
    """A ServedVersion as an api.modelserver.Assignment, with the pipeline as the user wants it."""
    return {**version, "pipeline": observed.pipeline}


def _same(one: Manifest | None, other: Manifest | None) -> bool:
    return one is not None and other is not None and all(one[k] == other[k] for k in IDENTITY)


def _rollout_fields(
    observed: Observed,
    step: Round,
    stable: Manifest,
    candidate: Manifest | None,
    now: datetime,
) -> dict[str, Any]:
    """Counts and times of the status."""
    obj, before = observed.obj, meta.status(observed.obj)
    fields: dict[str, Any] = {
        "stable": dict(stable),
        "replicas": len(observed.servers),
        "readyReplicas": sum(s.ready for s in observed.servers),
        "updatedReplicas": step.updated,
        "selector": label_selector(obj),
        "url": names.url(obj),
    }
    if candidate is not None:
        going_on = _same(candidate, before.get("candidate"))
        moved = step.updated > int(before.get("updatedReplicas") or 0)
        fields["candidate"] = dict(candidate)
        fields["rolloutStartedAt"] = before.get("rolloutStartedAt") if going_on else None
        fields["rolloutStartedAt"] = fields["rolloutStartedAt"] or timestamp(now)
        fields["lastProgressAt"] = before.get("lastProgressAt") if going_on and not moved else None
        fields["lastProgressAt"] = fields["lastProgressAt"] or timestamp(now)
    return fields


def _next_look(
    observed: Observed, fields: dict[str, Any], candidate: Manifest | None, now: datetime
) -> float | None:
    """Seconds until the progress deadline, which no event announces."""
    if candidate is None:
        return None
    limit = timedelta(seconds=observed.spec.rollout.progress_deadline_seconds)
    left = (parse_timestamp(fields["lastProgressAt"]) + limit - now).total_seconds()
    return left + 1 if left > 0 else None


def _events(
    observed: Observed, report: Assessment, stable: Manifest, candidate: Manifest | None
) -> tuple[Event, ...]:
    """Events of this step's transitions."""
    before = meta.status(observed.obj)
    events = []
    if candidate is not None and not _same(candidate, before.get("candidate")):
        text = f"replacing {stable['modelVersion']} by {candidate['modelVersion']}"
        events.append(Event("Normal", "RolloutStarted", text))
    if not _same(stable, before.get("stable")):
        events.append(Event("Normal", "VersionStable", f"serving {stable['modelVersion']}"))
    if report.phase == "Degraded" and before.get("phase") != "Degraded":
        events.append(Event("Warning", report.reason, report.message))
    return tuple(events)


def _serving_line(obj: Manifest, view: View) -> Iterable[Key]:
    line = obj["spec"]["modelLine"]
    for name in view.facts("Deployment", meta.namespace(obj), "model-line", line):
        yield Key("Deployment", meta.namespace(obj), name)


CONTROLLER = Controller(
    kind="Deployment",
    observe=observe,
    decide=decide,
    children=("apps/Deployment", "Service", "Pod", "ModelServer"),
    triggers={"ModelVersion": _serving_line},
    indexes={
        ("Deployment", "model-line"): lambda obj: (obj["spec"]["modelLine"],),
        ("ModelVersion", "model-line"): lambda obj: (obj["spec"]["modelLine"],),
    },
)
