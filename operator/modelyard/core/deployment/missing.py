"""Servers that cannot run, whatever the version, and why.

A pod that fits no node, whose image cannot be pulled, or that a quota refuses says nothing about a
version. So such servers do not count in a rollout, which is judged by those that can run; the
status names them. See Member.blocked and FleetConfig.start_within for what counts as such.
"""

from __future__ import annotations

import re

from modelyard.core import meta
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.selection import Tallies, first


def missing(observed: Observed, tallies: Tallies) -> str:
    """How many servers cannot run, with the words of the scheduler, the kubelet or the API server;
    empty if there are none."""
    found = [_absent(observed, tallies), _refused(observed)]
    return "; ".join(text for text in found if text)


_POD_NAME = re.compile(r'^pods "[^"]*" is ')
"""Each attempt has another random name: a message with it would change for ever."""


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


def _refused(observed: Observed) -> str:
    """Pods that the API server refuses to make, as for a quota. A DaemonSet does not say."""
    for one in meta.status(observed.workload or {}).get("conditions") or ():
        if (one.get("type"), one.get("status")) == ("ReplicaFailure", "True"):
            words = str(one.get("message") or one.get("reason"))
            return f"pods are refused: {_POD_NAME.sub('', words)}"
    return ""
