"""Reads each spec once: parsing costs more than most decisions, and specs rarely change."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from modelyard.core.plan import KubeObject

T = TypeVar("T")
REMEMBERED = 192
"""Enough for what is worked on at a time; a parsed spec takes some ten kilobytes."""


class OfSpec(Generic[T]):
    """A function of an object's spec alone that remembers its answers, by UID.

    Whoever calls it must not change the answer.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._known: OrderedDict[str, tuple[Any, T]] = OrderedDict()

    def __call__(self, obj: KubeObject) -> T:
        """The answer for an object. Raises what the function raises."""
        uid, spec = obj["metadata"]["uid"], obj["spec"]
        known = self._known.get(uid)
        if known is not None and known[0] == spec:
            return known[1]
        answer = self._compute(spec)
        self._known[uid] = copy.deepcopy(spec), answer
        self._known.move_to_end(uid)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return answer
