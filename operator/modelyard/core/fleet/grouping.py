"""Where a server belongs: its group, its site, its place in the order, and what is wrong with it.

Pure functions of one member and of the configuration of its fleet, so that what makes two servers
equal for a decision can be read, and tested, apart from the book-keeping of thousands: fleet.py.
The types: member.py.
"""

from __future__ import annotations

import hashlib

from modelyard.core.fleet.member import Assigned, FleetConfig, Group, Member, Place
from modelyard.core.fleet.projections import ZONE_LABEL, NodeFact, Side
from modelyard.core.podstate import not_ready


def group_of(config: FleetConfig, member: Member) -> Group | None:
    """The group of a member; None for an orphan."""
    pod, server, node = member.pod, member.server, member.node
    edge = config.edge
    if pod is None and not (edge and node is not None and _selects(config, node)):
        return None
    there = not edge or (node is not None and node.ready)
    # A pod of a cluster that answers is there, whatever keeps its agent from reporting.
    silent = member.silent and (edge or not member.answers)
    online = there and not silent and not member.blocked
    state = Assigned.SWITCHING
    if server is not None and server.holds:
        state = Assigned.HOLDS
    elif server is not None and server.failure:
        state = Assigned.FAILED
    return Group(
        pool=node.labels.get(config.pool_label, "") if node and edge else "",
        product=_product(config, member),
        assigned=server.assigned if server else "",
        state=state,
        ready=pod is not None and pod.ready,
        online=online,
        down=there and not online and not member.answers,
        started=member.started,
        template=pod.template if pod and edge else "",
        staged=server.staged if server else ("", Side.NONE),
        shadow=server.shadow if server else ("", Side.NONE),
    )


def site_of(config: FleetConfig, member: Member) -> str:
    """The site of a member: the zone of its node, else its pool; empty in a cluster."""
    node = member.node
    if node is None or not config.edge:
        return ""
    return node.labels.get(ZONE_LABEL) or node.labels.get(config.pool_label, "")


def place_of(config: FleetConfig, salt: str, member: Member, group: Group) -> Place:
    """The place of a member within its group; another order for each `salt`."""
    useful = group.answers
    if not config.edge:
        return int(useful), "", member.name
    # Neighbours have alike names: a hash spreads a wave over the fleet.
    digest = hashlib.blake2s(f"{salt}/{member.name}".encode(), digest_size=8)
    return int(useful), digest.hexdigest(), member.name


def is_stale(member: Member) -> bool:
    """Whether the member's ModelServer is missing or names another pod, node or pool."""
    server = member.server
    if server is None:
        return True
    pod, group = member.pod, member.group
    if pod is None:
        return False
    pool = group.pool if group else ""
    return (server.pod, server.node, server.pool) != (pod.name, pod.node, pool)


def trouble_of(config: FleetConfig, member: Member) -> tuple[str, str] | None:
    """Reason and words of what keeps a member from doing what it should."""
    if member.server is not None and member.server.failure:
        return "LoadFailed", member.server.failure
    pod, node = member.pod, member.node
    if pod is None:
        return None
    # On the edge a node that is away is usual: it counts as offline.
    if node is not None and not node.ready and not pod.ready and not config.edge:
        return not_ready(pod.name, node.name, since=node.since, why=node.why)
    return pod.trouble


def _product(config: FleetConfig, member: Member) -> str:
    if not config.edge:
        return config.product
    return member.node.product if member.node else ""


def _selects(config: FleetConfig, node: NodeFact) -> bool:
    return all(node.labels.get(key) == value for key, value in config.node_selector)
