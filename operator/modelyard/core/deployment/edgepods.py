"""Which pods of edge servers go, for the DaemonSet (OnDelete) to make them anew."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.core import meta
from modelyard.core.deployment.moving import BATCH
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.resources import template_hash
from modelyard.core.deployment.selection import Tallies, first, pick
from modelyard.core.deployment.servers import DesiredServers
from modelyard.core.fleet.member import Member
from modelyard.core.plan import Ref


def outdated(
    observed: Observed, wishes: DesiredServers, tallies: Tallies, *, paused: bool
) -> Iterator[Ref]:
    """Pods that were made from another template: of servers whose turn it is, and of those that do
    not answer anyway, unless the rollout is paused. `tallies` are of the candidate, or of stable
    without one."""
    made, goal = observed.workload, tallies.release
    if not observed.edge or made is None:
        return
    # Before its controller knows of the template, it would make them anew from the former one.
    if template_hash(made["spec"]["template"]) != goal.template or not observed.counted:
        return
    if wishes.candidate is not None:
        members = wishes.moves.assign if wishes.moves else []
    else:
        members = _holding(observed, tallies)
    if not paused:
        members = [*members, *_down(observed, goal)]
    for member in members:
        pod = member.pod
        if pod is not None and pod.template != goal.template:
            yield Ref("v1", "Pod", meta.namespace(observed.obj), pod.name, pod.uid)


def _holding(observed: Observed, tallies: Tallies) -> list[Member]:
    """Servers that hold stable in pods of another template, within maxUnavailable: the template was
    taken back while it was rolled out, or they could not be reached then."""
    return pick(
        observed.fleet,
        tallies,
        want=tallies.all.online,
        max_unavailable=observed.spec.rollout.max_unavailable,
        by_pool=observed.by_pool,
        only=lambda group: group.assigned == tallies.release.key and tallies.outdated(group),
        limit=BATCH,
    )


def _down(observed: Observed, goal: Release) -> list[Member]:
    """Servers whose pods do not come up: only a pod of another template can bring them back."""
    groups = [g for g in observed.fleet.groups if g.down and g.template not in ("", goal.template)]
    return first(observed.fleet, groups, BATCH)
