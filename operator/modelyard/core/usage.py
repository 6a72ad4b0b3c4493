"""Who needs an object: shown in `status.usedBy`, and deletion is refused while there is anyone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from modelyard.core import meta
from modelyard.core.plan import KubeObject

ENDED = ("Succeeded", "Failed")
"""Phases of a TrainingJob that needs its inputs no longer."""
SHOWN = 5
"""Users shown by name; the list is sorted so that it is the same each time."""


def users(names: Iterable[tuple[str, Iterable[str]]]) -> list[str] | None:
    """The first users as `Kind name`, from the names of each kind, or None if there are none."""
    every = (f"{kind} {name}" for kind, of_kind in names for name in of_kind)
    return heapq.nsmallest(SHOWN, every) or None


def needs_inputs(training: KubeObject) -> bool:
    """Whether a TrainingJob still reads its Dataset and the version that it starts from."""
    return not meta.deleting(training) and meta.status(training).get("phase") not in ENDED
