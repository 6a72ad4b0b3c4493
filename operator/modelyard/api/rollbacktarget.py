"""Which version a rollback without a number goes back to: the same for the operator, which protects
it from deletion, and for the command-line interface, which asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def rollback_target(history: Iterable[Mapping[str, Any]], stable: int | None) -> int | None:
    """The number of the version that served before `stable`, from status.history (the latest
    first); None if the history does not go back that far."""
    records = [one for one in history if one.get("outcome") == "Succeeded"]
    for record in records:
        if record.get("version") != stable:
            return int(record["version"])
    for record in records:
        before = record.get("previous")
        if before is not None and int(before) != stable:
            return int(before)
    return None
