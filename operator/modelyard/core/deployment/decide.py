"""The decision about a Modelyard Deployment, from what is observed to a plan.

what people ask (actions.py) ─┐
what the spec wants ──────────┼→ desired_release.py ─→ lifecycle.py ─→ servers.py ─→ plan
what serves ──────────────────┘   which release        which rollout,  which
                                                       how far          ModelServers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.base import API_VERSION
from modelyard.api.deployment import DeploymentPhase
from modelyard.core import meta
from modelyard.core.deployment import actions as acting
from modelyard.core.deployment import (
    activation,
    current_release,
    disruption,
    drifting,
    edgepods,
    gateway,
    monitoring,
)
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.desired_release import DesiredRelease, desired_release
from modelyard.core.deployment.drifting import Judgement
from modelyard.core.deployment.gauges import GAUGES
from modelyard.core.deployment.lifecycle import Course, follow
from modelyard.core.deployment.monitoring import Wanted
from modelyard.core.deployment.observed import CHILDREN, OPTIONAL, Observed, observe
from modelyard.core.deployment.pauses import is_paused
from modelyard.core.deployment.resources import (
    model_server,
    pod_template,
    service,
    settings_hash,
    template_hash,
    workload,
)
from modelyard.core.deployment.servers import DesiredServers, assignments, monitoring_due
from modelyard.core.deployment.status import Assessment, Situation, assess, waiting_status
from modelyard.core.fleet.fleets import FLEETS
from modelyard.core.namespace_policy import namespace_verdict
from modelyard.core.plan import Apply, Controller, Event, Key, KubeObject, Plan, Ref, View
from modelyard.core.policy import Verdict
from modelyard.core.statusing import compose


def decide(observed: Observed, now: datetime) -> Plan:
    """Serve the stable release always; bring servers to the wanted one by the rollout's stages."""
    if meta.deleting(observed.obj):
        return Apply()
    actions = acting.read(observed.obj, observed.recorded.actions)
    pods = pod_template(observed)
    template = template_hash(pods)
    wanted = desired_release(observed, actions, template, now.replace(microsecond=0))
    unprepared = namespace_verdict(observed.obj, observed.settings)
    release = None if unprepared else wanted.release
    stable = current_release.stable(observed, template)
    # What serves goes on, but its pods follow spec.server all the same.
    goal = release or (stable.in_pods_of(template) if stable else None)
    if goal is None:
        problem = unprepared or wanted.problem
        assert problem is not None
        status = waiting_status(observed, problem, now, actions=actions.acted_on or None)
        return Apply(status=status, events=wanted.events)
    # The first release that there is serves at once: there is none to compare it with.
    course = follow(observed, wanted, goal=goal, stable=stable or goal, actions=actions, now=now)
    return _plan(
        observed,
        course,
        _Wishes(wanted, actions, unprepared or (None if course.ended else wanted.problem)),
        pods,
        now,
    )


@dataclass(frozen=True)
class _Wishes:
    """What is asked for, and what stands in its way."""

    wanted: DesiredRelease
    actions: Actions
    problem: Verdict | None


def _plan(
    observed: Observed, course: Course, wishes: _Wishes, pods: KubeObject, now: datetime
) -> Apply:
    """The writes that follow from where the rollouts stand."""
    scaling = activation.parts(observed, observed.available_kinds.__contains__)
    routes = gateway.parts(
        observed,
        stable=course.stable.key,
        candidate=course.candidate.key if course.candidate else None,
        state=course.state,
        kind_available=observed.available_kinds.__contains__,
    )
    monitored = monitoring.wanted(observed)
    drift = drifting.judge(observed, monitored.status, now)
    situation = Situation(
        course=course,
        problem=wishes.problem,
        override=wishes.wanted.override,
        actions=wishes.actions.acted_on,
        missing=routes.problem or scaling.problem,
        template=settings_hash(pods),
        refused=scaling.refusal,
        monitoring=drift,
    )
    report = assess(observed, situation)
    servers, rollout = _servers(course, monitored), course.rollout
    return Apply(
        apply=(
            *_workload(observed, pods, now),
            *scaling.children,
            # Requests are led away from a server before it is assigned another version.
            *routes.children,
            *routes.labels,
        ),
        # What was decided is kept before it is done: it must not come out otherwise after a crash.
        status_first=situation.recorded.decisions != observed.recorded.decisions,
        apply_unordered=tuple(_model_servers(observed, servers)),
        delete=(
            *_orphans(observed),
            *_outdated_pods(observed, course, servers),
            *routes.leftovers,
            *scaling.leftovers,
            *disruption.leftovers(observed, observed.children),
        ),
        queries=rollout.queries if rollout else (),
        status=_status(observed, report, now),
        events=(*wishes.wanted.events, *_events(observed, report, course), *drift.events),
        requeue_after=_requeue_after(observed, course, servers, drift, now),
    )


def _workload(observed: Observed, pods: KubeObject, now: datetime) -> Iterator[KubeObject]:
    """The children that make server pods, lead to them and guard them."""
    yield service(observed)
    yield workload(observed, pods, now)
    yield from disruption.children(observed)


def _status(observed: Observed, report: Assessment, now: datetime) -> KubeObject:
    return compose(
        observed.obj,
        phase=report.phase.value,
        message=report.message,
        conds=report.conditions,
        now=now,
        **report.fields,
    )


def _model_servers(observed: Observed, servers: DesiredServers) -> Iterator[KubeObject]:
    for change in assignments(observed, servers):
        text = servers.monitoring.of(change.member)
        yield model_server(
            observed,
            change.member,
            change.assigned,
            staged=change.staged,
            shadow=change.shadow,
            monitoring=monitoring.wire(text if change.monitoring is None else change.monitoring),
            report_seconds=change.report_seconds,
        )


def _outdated_pods(observed: Observed, course: Course, servers: DesiredServers) -> Iterator[Ref]:
    paused = is_paused(observed, course.state)
    return edgepods.outdated(observed, servers, course.tallies, paused=paused)


def _servers(course: Course, monitored: Wanted) -> DesiredServers:
    return DesiredServers(
        course.stable,
        course.candidate,
        course.rejected,
        course.rollout.moves if course.rollout else None,
        immediate=course.immediate,
        monitoring=monitored,
    )


def _requeue_after(
    observed: Observed, course: Course, servers: DesiredServers, drift: Judgement, now: datetime
) -> float | None:
    """Seconds until the next measurement, end of a pause, deadline or silence of a server, or until
    more servers are told what to monitor."""
    moments = [one.timestamp() for one in (course.rollout.requeue_at if course.rollout else ())]
    moments += [one.timestamp() for one in drift.requeue_at]
    if observed.next_silence is not None:
        moments.append(observed.next_silence)
    if monitoring_due(observed, servers):
        moments.append(now.timestamp() + 1.0)
    return max(0.0, min(moments) - now.timestamp()) if moments else None


def _orphans(observed: Observed) -> Iterator[Ref]:
    for name in sorted(observed.fleet.orphans):
        server = observed.fleet.members[name].server
        if server is not None:
            space = meta.namespace(observed.obj)
            yield Ref(API_VERSION, "ModelServer", space, server.name, server.uid)


def _events(observed: Observed, report: Assessment, course: Course) -> tuple[Event, ...]:
    """Events of rollouts, and of transitions of which no rollout says anything."""
    before, stable, phase = observed.recorded, course.stable, report.phase
    events = [*course.events, *(course.rollout.events if course.rollout else ())]
    served = before.stable
    now = (stable.name, stable.served.digest)
    if served is None or (served.model_version, served.digest) != now:
        # An Event like an earlier one is not sent again: one made again under its name says which.
        again = served is not None and served.model_version == stable.name
        title = f"{stable.name} ({stable.short_digest})" if again else stable.name
        events.append(Event("Normal", "VersionStable", f"serving {title}"))
    known = any(event.message == report.message for event in course.events)
    degraded = phase == DeploymentPhase.DEGRADED
    if phase != before.phase and (degraded or phase == DeploymentPhase.PAUSED) and not known:
        kind = "Warning" if degraded else "Normal"
        events.append(Event(kind, report.reason, report.message))
    return tuple(events)


def _advance(view: View, obj: KubeObject, now: datetime) -> None:
    """Let servers that have fallen silent count as offline."""
    view.aggregate("fleets").of(obj).sweep(now.timestamp())


def _debounce(view: View, key: Key) -> float:
    """Seconds that changes of servers may wait: nothing for a few, half a second for thousands."""
    obj = view.get("Deployment", key.namespace, key.name)
    if obj is None:
        return 0.0
    servers = len(view.aggregate("fleets").of(obj).members)
    return 0.0 if servers < 50 else min(0.5, servers / 4000)


CONTROLLER = Controller(
    kind="Deployment",
    observe=observe,
    decide=decide,
    advance=_advance,
    children=CHILDREN,
    optional=OPTIONAL,
    aggregates={"fleets": FLEETS},
    debounce=_debounce,
    gauges=GAUGES,
    pod_owned_fields=("activator",),
)
