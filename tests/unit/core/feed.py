"""Feeds the aggregates of all controllers with what has changed, as the operator's cache does.

Tests change objects in place. So each object is compared with a copy of what was fed last; an
aggregate sees one `put` or `drop` for each object that differs, and is never built again.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelyard.core.controllers import CONTROLLERS
from modelyard.core.plan import Aggregate

ObjectKey = tuple[str, str]
"""Kind and name."""


class Feed:
    """The aggregates, and what they were fed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is the operator's: seconds since the epoch."""
        self._fed: dict[ObjectKey, dict[str, Any]] = {}
        self.aggregates: dict[str, Aggregate] = {}
        self._by_kind: dict[str, list[Aggregate]] = {}
        for controller in CONTROLLERS:
            for name, (kinds, make) in controller.aggregates.items():
                made = self.aggregates[name] = make(clock)
                for kind in kinds:
                    self._by_kind.setdefault(kind, []).append(made)

    def update(self, objects: Mapping[ObjectKey, dict[str, Any]]) -> list[ObjectKey]:
        """Feed what is new, has changed or is gone, and say what that was. An object whose spec was
        changed in place gets the next generation, as from the API server."""
        changed = sorted(self._fed.keys() - objects.keys())
        for key in changed:
            self._drop(key)
        for key, obj in objects.items():
            before = self._fed.get(key)
            if before == obj:
                continue
            changed.append(key)
            if before is not None and _uid(before) != _uid(obj):
                self._drop(key)
                before = None
            if before is not None:
                _bump_generation(before, obj)
            # What is fed stays as it is: the next change happens to the test's own object.
            fed = self._fed[key] = pickle.loads(pickle.dumps(obj))
            for aggregate in self._of(key[0]):
                aggregate.put(key[0], fed)
        return changed

    def _drop(self, key: ObjectKey) -> None:
        last = self._fed.pop(key)
        for aggregate in self._of(key[0]):
            aggregate.drop(key[0], last)

    def _of(self, kind: str) -> Iterable[Aggregate]:
        return self._by_kind.get(kind, ())


def _uid(obj: Mapping[str, Any]) -> Any:
    return obj["metadata"].get("uid")


def _bump_generation(before: Mapping[str, Any], obj: dict[str, Any]) -> None:
    generation = before["metadata"].get("generation")
    unchanged = generation is None or before.get("spec") == obj.get("spec")
    if not unchanged and obj["metadata"].get("generation") == generation:
        obj["metadata"]["generation"] = generation + 1
