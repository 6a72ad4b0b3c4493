"""Updates aggregates (see core.plan.Aggregate) with each object that enters or leaves the cache.

The cache (cache.py) calls this, and returns the keys that an aggregate wants reconciled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelyard.core.plan import Aggregate, AggregateKind, Clock, Key, KubeObject

log = logging.getLogger(__name__)


class Aggregates:
    """One instance of each aggregate, kept for the life of the process."""

    def __init__(self, kinds: Mapping[str, AggregateKind], clock: Clock) -> None:
        self._by_name = {name: kind.make(clock) for name, kind in kinds.items()}
        self._by_kind: dict[str, list[tuple[str, Aggregate]]] = {}
        for name, made in self._by_name.items():
            for kind in kinds[name].kinds:
                self._by_kind.setdefault(kind, []).append((name, made))

    def __getitem__(self, name: str) -> Any:
        try:
            return self._by_name[name]
        except KeyError:
            raise KeyError(f"no aggregate {name!r}: add it to Controller.aggregates") from None

    def put(self, kind: str, obj: KubeObject) -> frozenset[Key]:
        """Add or update an object; returns the keys to reconcile because of it."""
        return self._update(kind, obj, lambda aggregate: aggregate.put(kind, obj))

    def drop(self, kind: str, obj: KubeObject) -> frozenset[Key]:
        """Remove an object; returns the keys to reconcile because of it."""
        return self._update(kind, obj, lambda aggregate: aggregate.drop(kind, obj))

    def _update(
        self, kind: str, obj: KubeObject, call: Callable[[Aggregate], Iterable[Key]]
    ) -> frozenset[Key]:
        found: frozenset[Key] = frozenset()
        for name, aggregate in self._by_kind.get(kind, ()):
            try:
                found = found.union(call(aggregate))
            except Exception:
                # One failing aggregate must not keep the object from the cache and the others.
                own = obj["metadata"]
                place = f"{own.get('namespace', '')}/{own['name']}"
                log.exception("aggregate %r failed for %s %s", name, kind, place)
        return found
