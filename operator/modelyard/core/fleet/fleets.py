"""All fleets, fed by the cache: an Aggregate over Deployments, pods, ModelServers and nodes.

Kept up to date by watch events instead of being computed for each decision: with 5,000 nodes that
would cost seconds each time. Pods, ModelServers and nodes may arrive in any order. One fleet:
fleet.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import config_of
from modelyard.core.fleet.projections import (
    NodeFact,
    PodFact,
    ServerFact,
    read_node,
    read_pod,
    read_server,
)
from modelyard.core.plan import AggregateKind, Clock, Key, KubeObject

EMPTY = Fleet("")
"""For a Deployment that nothing is known of yet. Nothing is ever put into it."""


class Fleets:
    """The fleets by the UID of their Deployment."""

    def __init__(self, clock: Clock) -> None:
        """By `clock` it is known when servers' reports arrive."""
        self._clock = clock
        self._fleets: dict[str, Fleet] = {}
        self._keys: dict[str, Key] = {}
        """Deployment's UID → its key."""
        self._nodes: dict[str, NodeFact] = {}
        self._on_node: dict[str, set[str]] = {}
        """Node → UIDs of the edge Deployments that have a member there."""
        self._at: dict[str, tuple[str, str]] = {}
        """UID of a pod or ModelServer → (UID of its Deployment, member)."""

    def of(self, uid: str) -> Fleet:
        """The fleet of a Deployment."""
        return self._fleets.get(uid, EMPTY)

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            fact = read_node(obj)
            return self._node(fact.name, fact)
        if kind == "Deployment":
            uid = meta.uid(obj)
            self._keys[uid] = meta.key(obj, "Deployment")
            self._fleet(uid).configure(config_of(obj["spec"]))
            return ()  # It is looked at anyway.
        if kind == "Pod":
            pod = read_pod(obj)
            return self._place(kind, obj, pod, pod.name if pod else "", pod.node if pod else "")
        server = read_server(obj)
        if server is None:
            return self.drop(kind, obj)
        return self._place(kind, obj, server, server.pod, server.node)

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            return self._node(meta.name(obj), None)
        uid = meta.uid(obj)
        if kind == "Deployment":
            # Its children go after it, one by one; the fleet goes with the last of them.
            self._keys.pop(uid, None)
            self._tidy(uid)
            return ()
        return self._leave(kind, uid)

    def _place(
        self, kind: str, obj: KubeObject, fact: PodFact | ServerFact | None, pod: str, node: str
    ) -> Iterable[Key]:
        """Take a pod or ModelServer in as a part of the member that it belongs to."""
        carried = obj["metadata"].get("labels") or {}
        owner, uid = carried.get(labels.OWNER_UID), meta.uid(obj)
        edge = carried.get(labels.TARGET) == "edge"
        member = node if edge else pod
        if fact is None or not owner or not member:
            return self._leave(kind, uid)
        keys: Iterable[Key] = ()
        if uid in self._at and self._at[uid] != (owner, member):
            keys = self._leave(kind, uid)
        fleet = self._fleet(owner)
        if edge and member not in fleet.members:
            self._on_node.setdefault(member, set()).add(owner)
        self._at[uid] = (owner, member)
        if isinstance(fact, PodFact):
            changed = fleet.set_pod(member, fact)
        else:
            changed = fleet.set_server(member, fact, self._clock())
        if edge:
            known = fleet.members[member]
            here = self._nodes.get(member)
            if known.node != here:
                changed = fleet.set_node(member, here) or changed
        return {*keys, *self._key(owner, obj)} if changed else keys

    def _leave(self, kind: str, uid: str) -> Iterable[Key]:
        """Take a pod or ModelServer out of where it was."""
        owner, member = self._at.pop(uid, ("", ""))
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
        if member not in fleet.members and member in self._on_node:
            self._on_node[member].discard(owner)
            if not self._on_node[member]:
                del self._on_node[member]
        self._tidy(owner)
        key = self._keys.get(owner)
        return (key,) if key else ()

    def _node(self, name: str, fact: NodeFact | None) -> Iterable[Key]:
        if self._nodes.get(name) == fact:
            return ()
        if fact is None:
            del self._nodes[name]
        else:
            self._nodes[name] = fact
        keys = set()
        for uid in self._on_node.get(name, ()):
            if self._fleets[uid].set_node(name, fact) and uid in self._keys:
                keys.add(self._keys[uid])
        return keys

    def _fleet(self, uid: str) -> Fleet:
        fleet = self._fleets.get(uid)
        if fleet is None:
            fleet = self._fleets[uid] = Fleet(uid)
        return fleet

    def _tidy(self, uid: str) -> None:
        fleet = self._fleets.get(uid)
        if fleet is not None and not fleet.members and uid not in self._keys:
            del self._fleets[uid]

    def _key(self, owner: str, obj: KubeObject) -> Iterable[Key]:
        known = self._keys.get(owner)
        if known is not None:
            return (known,)
        kind, _, name = (meta.annotation(obj, labels.OWNER) or "").partition("/")
        return (Key("Deployment", meta.namespace(obj), name),) if kind == "Deployment" else ()


FLEETS = AggregateKind(("Deployment", "Pod", "ModelServer", "Node"), Fleets)
