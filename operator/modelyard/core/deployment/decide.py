"""What to do about a Modelyard Deployment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.core import meta
from modelyard.core.conditions import timestamp
from modelyard.core.deployment import actions as acting
from modelyard.core.deployment import activation, current_release, disruption, edgepods, gateway
from modelyard.core.deployment.context import StepResult, begun_by
from modelyard.core.deployment.desired_release import reject, target
from modelyard.core.deployment.gauges import GAUGES
from modelyard.core.deployment.lifecycle import RolloutLifecycle
from modelyard.core.deployment.observed import Observed, observe
from modelyard.core.deployment.pauses import stopped
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.resources import (
    model_server,
    pod_template,
    service,
    template_hash,
    workload,
)
from modelyard.core.deployment.rollout import advance
from modelyard.core.deployment.selection import tally
from modelyard.core.deployment.servers import DesiredServers, assignments
from modelyard.core.deployment.stages import stages
from modelyard.core.deployment.status import Situation, assess, waiting_status
from modelyard.core.fleet.fleets import FLEETS
from modelyard.core.namespace_policy import namespace_verdict
from modelyard.core.plan import Controller, Event, Key, KubeObject, Plan, Ref, View
from modelyard.core.statusing import compose


def decide(observed: Observed, now: datetime) -> Plan:
    """Serve the stable release always; bring servers to the target by the rollout's stages."""
    obj, fleet = observed.obj, observed.fleet
    if meta.deleting(obj):
        return Plan()
    next_silence = fleet.sweep(now.timestamp())
    actions = acting.read(obj)
    pods = pod_template(observed)
    template = template_hash(pods)
    wanted = target(observed, actions, template, timestamp(now))
    unprepared = namespace_verdict(obj, observed.settings)
    stable = current_release.stable(observed, template)
    release = None if unprepared else wanted.release
    if stable is None and release is None:
        problem = unprepared or wanted.problem
        assert problem is not None
        status = waiting_status(observed, problem, now, actions=actions.heeded or None)
        return Plan(status=status, events=wanted.events)

    lifecycle = RolloutLifecycle(observed, wanted, now)
    # What serves goes on, but its pods follow spec.server all the same.
    goal = release or (stable.in_pods_of(template) if stable else None)
    assert goal is not None
    stable = stable or goal
    state, candidate = lifecycle.resume_or_start(goal, stable)
    moved: StepResult | None = None
    if not fleet.members and not observed.replicas and not _sleeps_amid(state, observed):
        # With no server there is nobody to wait for; a new one starts with the target. Where there
        # is to be one, it comes back: its absence must not skip pauses and analyses.
        if state is not None:
            lifecycle.end(state, goal, stable, "Succeeded", "there is no server")
        state, candidate, stable = None, None, goal
    elif state is not None and candidate is not None:
        moved = advance(
            observed, state, stable=stable, candidate=candidate, actions=actions, now=now
        )
        state = moved.state
        if moved.outcome:
            lifecycle.end(state, candidate, stable, moved.outcome, moved.message)
            if moved.outcome == "Succeeded":
                stable = candidate
            else:
                lifecycle.rejected = reject(candidate, moved.reason, moved.message, now)
            state = candidate = None

    goal = candidate or stable
    tallies = tally(fleet, goal, begun_by(observed, state, stable, goal))
    wishes = DesiredServers(
        stable,
        candidate,
        lifecycle.rejected,
        moved.moves if moved else None,
        immediate=lifecycle.immediate,
    )
    changes = assignments(observed, wishes, tallies)
    scaling = activation.parts(observed, observed.kind_available)
    routes = gateway.parts(
        observed,
        stable=stable.key,
        candidate=candidate.key if candidate else None,
        state=state,
        served=observed.kind_available,
    )
    situation = Situation(
        stable=stable,
        candidate=candidate,
        tallies=tallies,
        problem=unprepared or (None if moved and moved.outcome else wanted.problem),
        rejected=lifecycle.rejected,
        rollout=moved,
        revision=lifecycle.revision,
        history=lifecycle.history,
        override=wanted.override,
        actions=actions.heeded,
        missing=routes.problem or scaling.problem,
    )
    report = assess(observed, situation)
    decided = _decisions(meta.status(obj)) != _decisions(report.fields)
    looks = [moment.timestamp() for moment in (moved.looks if moved else ())]
    if next_silence is not None:
        looks.append(next_silence)
    return Plan(
        apply=(
            service(observed),
            workload(observed, pods, now),
            *disruption.children(observed),
            *scaling.children,
            # Requests are led away from a server before it is told to switch.
            *routes.children,
            *routes.labels,
        ),
        # What was decided is kept before it is done: it must not come out otherwise after a crash.
        apply_unordered=()
        if decided
        else tuple(
            model_server(
                observed,
                c.member,
                c.assigned,
                staged=c.staged,
                shadow=c.shadow,
                report_seconds=c.report_seconds,
            )
            for c in changes
        ),
        delete=()
        if decided
        else (
            *_orphans(observed),
            *edgepods.outdated(observed, wishes, tallies, held=stopped(observed, state)),
            *routes.leftovers,
            *scaling.leftovers,
            *disruption.leftovers(observed, observed.live),
        ),
        queries=moved.queries if moved else (),
        status=compose(
            obj,
            phase=report.phase,
            message=report.message,
            conds=report.conditions,
            now=now,
            **report.fields,
        ),
        events=(
            *wanted.events,
            *lifecycle.events,
            *(moved.events if moved else ()),
            *_events(
                observed, report.phase, report.reason, report.message, stable, lifecycle.events
            ),
        ),
        requeue_after=max(0.0, min(looks) - now.timestamp()) if looks else None,
    )


def _sleeps_amid(state: dict[str, Any] | None, observed: Observed) -> bool:
    """Whether a rollout has halts that servers must not sleep through: the next request wakes
    them."""
    if state is None or state.get("promoteFull") or not activation.asleep(observed):
        return False
    return any(s.pause or s.analysis for s in stages(observed.spec.rollout, edge=observed.edge))


def _decisions(status: KubeObject) -> tuple[Any, ...]:
    """The part of a status that servers' assignments follow from."""
    stable, state = status.get("stable") or {}, status.get("rollout") or {}
    return (
        *(
            stable.get(k)
            for k in ("modelVersion", "contentDigest", "digest", "pipeline", "template")
        ),
        *(state.get(k) for k in ("revision", "stage", "step")),
        status.get("rejected"),
        status.get("override"),
        status.get("actions"),
    )


def _orphans(observed: Observed) -> Iterator[Ref]:
    for name in sorted(observed.fleet.orphans):
        server = observed.fleet.members[name].server
        if server is not None:
            space = meta.namespace(observed.obj)
            yield Ref(API_VERSION, "ModelServer", space, server.name, server.uid)


def _events(
    observed: Observed,
    phase: str,
    reason: str,
    message: str,
    stable: Release,
    told: list[Event],
) -> tuple[Event, ...]:
    """Events of transitions that nothing else tells; `told` is what does."""
    before = meta.status(observed.obj)
    events = []
    held = before.get("stable") or {}
    if (held.get("modelVersion"), held.get("digest")) != (stable.name, stable.served["digest"]):
        events.append(Event("Normal", "VersionStable", f"serving {stable.name}"))
    known = any(event.message == message for event in told)
    if phase != before.get("phase") and phase in ("Degraded", "Paused") and not known:
        kind = "Warning" if phase == "Degraded" else "Normal"
        events.append(Event(kind, reason, message))
    return tuple(events)


def _serving_line(obj: KubeObject, view: View) -> Iterable[Key]:
    line = obj["spec"]["modelLine"]
    for name in view.projections("Deployment", meta.namespace(obj), "model-line", line):
        yield Key("Deployment", meta.namespace(obj), name)


def _debounce(view: View, key: Key) -> float:
    """Seconds that changes of servers may wait: nothing for a few, half a second for thousands."""
    obj = view.get("Deployment", key.namespace, key.name)
    if obj is None:
        return 0.0
    servers = len(view.aggregate("fleets").of(meta.uid(obj)).members)
    return 0.0 if servers < 50 else min(0.5, servers / 4000)


CONTROLLER = Controller(
    kind="Deployment",
    observe=observe,
    decide=decide,
    children=(
        "apps/Deployment",
        "apps/DaemonSet",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ),
    optional=(*gateway.ROUTES, *activation.KINDS),
    triggers={"ModelVersion": _serving_line},
    indexes={
        ("Deployment", "model-line"): lambda obj: (obj["spec"]["modelLine"],),
        ("ModelVersion", "model-line"): lambda obj: (obj["spec"]["modelLine"],),
    },
    aggregates={"fleets": FLEETS},
    debounce=_debounce,
    gauges=GAUGES,
)
