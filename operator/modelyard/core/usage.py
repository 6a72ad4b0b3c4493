"""Who needs an object: shown in `status.usedBy`, and deletion is refused while there is anyone."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.core import meta
from modelyard.core.plan import Manifest

SHOWN = 5
"""Users shown by name; the list is sorted so that it is the same each time."""


def users(kind_and_objects: Iterable[tuple[str, Iterable[Manifest]]]) -> list[str] | None:
    """The first users as `Kind name`, or None if there are none."""
    names = sorted(
        f"{kind} {meta.name(obj)}"
        for kind, objects in kind_and_objects
        for obj in objects
        if not meta.deleting(obj)
    )
    return names[:SHOWN] or None
