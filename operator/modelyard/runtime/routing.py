"""From a changed object to the keys to reconcile: its own, its owner's, and those of triggers.

Controllers declare children and triggers in core.plan.Controller; engine.py queues the keys.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence

from modelyard.core import ownership
from modelyard.core.plan import Controller, Key, KubeObject, Mapper, View
from modelyard.kube.cache import Cache, Change

log = logging.getLogger(__name__)


class Router:
    """Which controllers depend on which kinds."""

    def __init__(self, controllers: Sequence[Controller], view: View) -> None:
        self._view = view
        self._kinds = frozenset(c.kind for c in controllers)
        self._parents: dict[str, set[str]] = {}
        self._mappers: dict[str, list[Mapper]] = {}
        self._debounce = {c.kind: c.debounce for c in controllers if c.debounce is not None}
        for controller in controllers:
            for child in (*controller.children, *controller.optional):
                self._parents.setdefault(child, set()).add(controller.kind)
            for kind, mapper in controller.triggers.items():
                self._mappers.setdefault(kind, []).append(mapper)

    @staticmethod
    def watched(controllers: Iterable[Controller], absent: Collection[str] = ()) -> tuple[str, ...]:
        """All kinds that the controllers need, in a stable order, without the `absent` ones."""
        kinds: dict[str, None] = {}
        for controller in controllers:
            kinds.setdefault(controller.kind)
            aggregated = [kind for one in controller.aggregates.values() for kind in one.kinds]
            optional = [kind for kind in controller.optional if kind not in absent]
            for kind in (*controller.children, *controller.triggers, *aggregated, *optional):
                kinds.setdefault(kind)
            for kind, _ in controller.indexes:
                kinds.setdefault(kind)
        return tuple(kinds)

    @staticmethod
    def mapped(controllers: Iterable[Controller]) -> frozenset[str]:
        """Kinds whose old state is needed too: a reference may have changed to another object."""
        return frozenset(kind for c in controllers for kind in c.triggers)

    @classmethod
    def make_cache(cls, controllers: Sequence[Controller], absent: Collection[str]) -> Cache:
        """A cache of all kinds that the controllers need, with their indexes and aggregates."""
        return Cache(
            cls.watched(controllers, absent),
            {name: index for c in controllers for name, index in c.indexes.items()},
            keep_old=cls.mapped(controllers),
            aggregates={n: one for c in controllers for n, one in c.aggregates.items()},
            absent=absent,
        )

    def keys(self, change: Change) -> Iterator[Key]:
        """Keys to reconcile after a change; some may name objects that do not exist."""
        for obj in (change.new, change.old):
            if obj is not None:
                yield from self._keys(change.kind, obj)

    def delay(self, key: Key) -> float:
        """Seconds for which to collect further changes of an aggregate before the key is due."""
        debounce = self._debounce.get(key.kind)
        if debounce is None:
            return 0.0
        try:
            return debounce(self._view, key)
        except Exception:
            log.exception("%s: how long to wait is unknown", key)
            return 0.0

    def own_key(self, change: Change) -> Key | None:
        """The key of the changed object itself, if a controller reconciles its kind."""
        obj = change.new or change.old
        if obj is None or change.kind not in self._kinds:
            return None
        metadata = obj["metadata"]
        return Key(change.kind, metadata.get("namespace", ""), metadata["name"])

    def _keys(self, kind: str, obj: KubeObject) -> Iterator[Key]:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        if kind in self._kinds:
            yield Key(kind, namespace, metadata["name"])
        parents = self._parents.get(kind)
        if parents:
            owner = ownership.parent(obj)
            if owner is not None and owner[0] in parents:
                yield Key(owner[0], namespace, owner[1])
        for mapper in self._mappers.get(kind, ()):
            try:
                yield from list(mapper(obj, self._view))
            except Exception:
                # An object that a trigger fails on must not stop the others.
                log.exception("mapping %s %s/%s failed", kind, namespace, metadata["name"])
