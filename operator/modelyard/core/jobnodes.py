"""Tells owners of Jobs when the node of one of their pods stops being ready, or is again.

Nodes report all the time, and there may be thousands. Only nodes with a pod of a Job count here,
and only a change of their readiness reconciles anything. What the node says is read from the cache
(jobstate.read_job).
"""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.api.kinds import ALL_KINDS
from modelyard.core import meta, ownership, podstate
from modelyard.core.plan import AggregateKind, Clock, Key, KubeObject

_RECONCILED = frozenset(info.kind for info in ALL_KINDS if info.reconciled)


class JobNodes:
    """Which owners depend on which nodes."""

    def __init__(self, _: Clock) -> None:
        self._keys: dict[str, dict[str, Key]] = {}
        """Node → UID of a pod there → its owner."""
        self._nodes: dict[str, str] = {}
        """UID of a pod → its node."""
        self._ready: dict[str, object] = {}
        """Readiness of the nodes that count, as seen last."""

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            return self._node(obj)
        node, owner = podstate.node_name(obj), self._owner(obj)
        if not node or owner is None or podstate.ended(obj):
            return self.drop(kind, obj)
        self._nodes[meta.uid(obj)] = node
        self._keys.setdefault(node, {})[meta.uid(obj)] = owner
        return ()  # It is reconciled anyway.

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """See core.plan.Aggregate."""
        if kind == "Node":
            return tuple(self._keys.get(meta.name(obj), {}).values())
        node = self._nodes.pop(meta.uid(obj), None)
        if node is not None:
            del self._keys[node][meta.uid(obj)]
            if not self._keys[node]:
                del self._keys[node]
                self._ready.pop(node, None)
        return ()

    def _node(self, node: KubeObject) -> Iterable[Key]:
        name = meta.name(node)
        keys = self._keys.get(name)
        if not keys:
            return ()
        ready = (podstate.condition(node, "Ready") or {}).get("status")
        if name in self._ready and self._ready[name] == ready:
            return ()
        self._ready[name] = ready
        return tuple(keys.values())

    @staticmethod
    def _owner(pod: KubeObject) -> Key | None:
        made_by, owner = ownership.controller(pod), ownership.parent(pod)
        if made_by is None or made_by.kind != "Job" or owner is None:
            return None
        kind, name = owner
        return Key(kind, meta.namespace(pod), name) if kind in _RECONCILED else None


JOB_NODES = AggregateKind(("Pod", "Node"), JobNodes)
