"""All fleets, fed by the cache: an Aggregate over Deployments, pods, ModelServers and nodes.

Kept up to date by watch events instead of being computed for each decision: with 5,000 nodes that
would cost seconds each time. Pods, ModelServers and nodes may arrive in any order. One fleet:
fleet.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.contract import labels
from modelyard.core import meta, ownership
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import config_of
from modelyard.core.fleet.projections import (
    Ended,
    NodeFact,
    PodFact,
    ServerFact,
    read_ended,
    read_node,
    read_pod,
    read_server,
)
from modelyard.core.ownership import FleetKey
from modelyard.core.plan import AggregateKind, Clock, Key, KubeObject

EMPTY = Fleet("")
"""For a Deployment that nothing is known of yet. Nothing is ever put into it."""

_Where = tuple[FleetKey, str]
"""A member of a Deployment's fleet."""

NOWHERE = FleetKey("", "", "")
"""Of no Deployment."""


class Fleets:
    """The fleets by their Deployment. What belongs to one: ownership.fleet_of."""

    def __init__(self, clock: Clock) -> None:
        """By `clock` it is known when servers' reports arrive."""
        self._clock = clock
        self._fleets: dict[FleetKey, Fleet] = {}
        self._known: set[FleetKey] = set()
        """Deployments that exist."""
        self._nodes: dict[str, NodeFact] = {}
        self._on_node: dict[str, set[_Where]] = {}
        """Node → members there."""
        self._node_of: dict[_Where, str] = {}
        """The same, the other way round."""
        self._ended: dict[str, FleetKey] = {}
        """UID of a pod that failed → its Deployment."""
        self._at: dict[str, _Where] = {}
        """UID of a pod or ModelServer → (its Deployment, member)."""

    def of(self, deployment: KubeObject) -> Fleet:
        """The fleet of a Deployment."""
        return self._fleets.get(ownership.fleet_key(deployment), EMPTY)

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            fact = read_node(obj)
            return self._node(fact.name, fact)
        if kind == "Deployment":
            own = ownership.fleet_key(obj)
            self._known.add(own)
            self._fleet(own).configure(config_of(obj["spec"]))
            return ()  # It is looked at anyway.
        if kind == "Pod":
            pod, ended = read_pod(obj), self._set_ended(obj, read_ended(obj))
            name, node = (pod.name, pod.node) if pod else ("", "")
            return {*ended, *self._place(kind, obj, pod, name, node)}
        server = read_server(obj)
        if server is None:
            return self.drop(kind, obj)
        return self._place(kind, obj, server, server.pod, server.node)

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            return self._node(meta.name(obj), None)
        if kind == "Deployment":
            # Its children go after it, one by one; the fleet goes with the last of them.
            own = ownership.fleet_key(obj)
            self._known.discard(own)
            self._tidy(own)
            return ()
        ended = self._set_ended(obj, None) if kind == "Pod" else ()
        return {*ended, *self._leave(kind, meta.uid(obj))}

    def _set_ended(self, obj: KubeObject, ended: Ended | None) -> Iterable[Key]:
        """A pod has failed; or it has not, or is gone."""
        uid = meta.uid(obj)
        owner = ownership.fleet_of(obj) if ended else self._ended.pop(uid, None)
        if owner is None:
            return ()
        if ended:
            self._ended[uid] = owner
        fleet = self._fleet(owner) if ended else self._fleets.get(owner)
        changed = fleet is not None and fleet.set_ended(uid, ended)
        self._tidy(owner)
        return (_key(owner),) if changed and owner in self._known else ()

    def _place(
        self, kind: str, obj: KubeObject, fact: PodFact | ServerFact | None, pod: str, node: str
    ) -> Iterable[Key]:
        """Take a pod or ModelServer in as a part of the member that it belongs to."""
        owner, uid = ownership.fleet_of(obj), meta.uid(obj)
        edge = (obj["metadata"].get("labels") or {}).get(labels.TARGET) == "edge"
        member = node if edge else pod
        if fact is None or owner is None or not member:
            return self._leave(kind, uid)
        keys: Iterable[Key] = ()
        if uid in self._at and self._at[uid] != (owner, member):
            keys = self._leave(kind, uid)
        fleet = self._fleet(owner)
        self._at[uid] = (owner, member)
        if node:
            self._move((owner, member), node)
        if isinstance(fact, PodFact):
            changed = fleet.set_pod(member, fact)
        else:
            changed = fleet.set_server(member, fact, self._clock())
        known = fleet.members.get(member)
        here = self._nodes.get(self._node_of.get((owner, member), ""))
        if known is not None and known.node != here:
            changed = fleet.set_node(member, here) or changed
        return {*keys, _key(owner)} if changed else keys

    def _leave(self, kind: str, uid: str) -> Iterable[Key]:
        """Take a pod or ModelServer out of where it was."""
        owner, member = self._at.pop(uid, (NOWHERE, ""))
        fleet = self._fleets.get(owner)
        known = fleet.members.get(member) if fleet else None
        if fleet is None or known is None:
            return ()
        part = known.pod if kind == "Pod" else known.server
        if part is None or part.uid != uid:
            return ()  # Its successor is there already.
        if kind == "Pod":
            fleet.set_pod(member, None)
        else:
            fleet.set_server(member, None, self._clock())
        if member not in fleet.members:
            self._move((owner, member), "")
        self._tidy(owner)
        return (_key(owner),) if owner in self._known else ()

    def _node(self, name: str, fact: NodeFact | None) -> Iterable[Key]:
        if self._nodes.get(name) == fact:
            return ()
        if fact is None:
            del self._nodes[name]
        else:
            self._nodes[name] = fact
        keys = set()
        for owner, member in self._on_node.get(name, ()):
            if self._fleets[owner].set_node(member, fact) and owner in self._known:
                keys.add(_key(owner))
        return keys

    def _move(self, where: _Where, node: str) -> None:
        """A member is on a node; on none if it is gone."""
        before = self._node_of.pop(where, "")
        if before and before != node:
            self._on_node[before].discard(where)
            if not self._on_node[before]:
                del self._on_node[before]
        if node:
            self._node_of[where] = node
            self._on_node.setdefault(node, set()).add(where)

    def _fleet(self, owner: FleetKey) -> Fleet:
        fleet = self._fleets.get(owner)
        if fleet is None:
            fleet = self._fleets[owner] = Fleet(owner.uid)
        return fleet

    def _tidy(self, owner: FleetKey) -> None:
        fleet = self._fleets.get(owner)
        empty = fleet is not None and not fleet.members and not fleet.ended
        if empty and owner not in self._known:
            del self._fleets[owner]


def _key(owner: FleetKey) -> Key:
    return Key("Deployment", owner.namespace, owner.name)


FLEETS = AggregateKind(("Deployment", "Pod", "ModelServer", "Node"), Fleets)
