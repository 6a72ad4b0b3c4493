"""What the collector remembers of a part between its runs: since when keys are not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelyard.contract.paths import COLLECTOR_STATE
from modelyard.contract.statustext import parse_timestamp, timestamp
from modelyard.store.errors import StoreError
from modelyard.store.store import Store

MOST = 200_000
"""Keys that are remembered, about 25 MB of JSON; others wait until these are gone."""


@dataclass(frozen=True)
class State:
    """Of one part."""

    owner: str | None = None
    """UID of the namespace that the part belongs to; None before the first run."""
    unneeded: Mapping[str, datetime] = field(default_factory=dict)
    """Keys that were not needed in any run since."""

    def with_unneeded(self, owner: str, keys: Iterable[str], now: datetime) -> State:
        """After another look. A key that was needed in between starts anew."""
        return State(owner, {key: self.unneeded.get(key, now) for key in sorted(keys)[:MOST]})

    def save(self, store: Store) -> None:
        """Write it to the part."""
        unneeded = {key: timestamp(since) for key, since in self.unneeded.items()}
        store.put_pointer(COLLECTOR_STATE, {"owner": self.owner, "unneeded": unneeded})


def load(store: Store) -> State:
    """The state of a part; an unreadable one is as if there had been no run. Raises StoreError."""
    try:
        found = store.get_pointer(COLLECTOR_STATE)
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        return State()
    if found is None:
        return State()
    try:
        unneeded = {key: parse_timestamp(since) for key, since in found["unneeded"].items()}
        return State(str(found["owner"]), unneeded)
    except (KeyError, AttributeError, TypeError, ValueError):
        return State()
