"""Servers that cannot run, whatever the version, and why.

A pod that fits no node, whose image cannot be pulled, or that a quota refuses says nothing about a
version. So such servers do not count in a rollout, which is judged by those that can run; the
status names them. See Member.blocked and FleetConfig.start_within for what counts as such.
"""

from __future__ import annotations

from modelyard.contract import labels
from modelyard.core import meta, podstate
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.selection import Tallies, first
from modelyard.core.podstate import Trouble
from modelyard.core.refusals import refused


def missing(observed: Observed, tallies: Tallies) -> str:
    """How many servers cannot run, with the words of the scheduler, the kubelet or the API server;
    empty if there are none."""
    refused_pods = refusal(observed)
    found = [_absent(observed, tallies), refused_pods.message if refused_pods else ""]
    return "; ".join(text for text in found if text)


def _absent(observed: Observed, tallies: Tallies) -> str:
    """Servers whose pods exist but do not start."""
    count, fleet = tallies.all.absent, observed.fleet
    groups = [group for group in fleet.groups if group.absent]
    for member in first(fleet, groups, 1) if count else ():
        trouble = fleet.troubled.get(member.name)
        name = member.pod.name if member.pod else member.name
        verb, words = ("cannot start", trouble[1]) if trouble else (_LATE, f"pod {name}")
        return f"{count} {'server' if count == 1 else 'servers'} {verb}: {words}"
    return ""


_LATE = "did not start in time"


def refusal(observed: Observed) -> Trouble | None:
    """That the API server refuses to make pods, as for a quota."""
    made = observed.workload
    if made is None:
        return None
    failing = podstate.condition(made, "ReplicaFailure") or {}
    if failing.get("status") == "True":
        return refused(str(failing.get("message") or failing.get("reason")))
    status = meta.status(made)
    wanted = int(status.get("desiredNumberScheduled") or 0)
    # Only an event says so of a DaemonSet, and it outlives what it is about.
    if observed.refusal and int(status.get("currentNumberScheduled") or 0) < wanted:
        return refused(observed.refusal)
    return None


def overdue(observed: Observed) -> bool:
    """Whether the controller of the apps Deployment has waited for too long for its pods."""
    moving = podstate.condition(observed.workload, "Progressing") if observed.workload else None
    return moving is not None and moving.get("status") == "False"


def behind(observed: Observed, template: str) -> str:
    """How many servers of a cluster target have the pod template of the present spec, for people;
    empty once all do. On the edge, a rollout brings it (edgepods.py)."""
    made = observed.workload
    if observed.edge or made is None:
        return ""
    status = meta.status(made)
    seen = status.get("observedGeneration") == meta.generation(made)
    if meta.annotation(made, labels.TEMPLATE) != template or not seen:
        return "the servers are about to get new settings of spec.server"
    updated, total = int(status.get("updatedReplicas") or 0), int(status.get("replicas") or 0)
    if updated >= total:
        return ""
    return f"{updated} of {observed.replicas} servers have the present settings of spec.server"
