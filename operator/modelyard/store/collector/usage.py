"""Looks at a part without changing it: which needed blobs are damaged or missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.contract.paths import BLOBS
from modelyard.store.collector.evidence import Evidence
from modelyard.store.collector.marking import Marker, collectable
from modelyard.store.errors import DigestMismatch
from modelyard.store.keys import Entry
from modelyard.store.store import Store


@dataclass(frozen=True)
class Damage:
    """A blob that is not what its key says."""

    digest: str
    size: int | None
    """In bytes; None if it is missing."""
    needed_by: str
    """An object, or a key of the store; empty if nothing needs it, or it is not known."""


def verify(
    store: Store, evidence: Evidence, on_blob: Callable[[Entry], None] = lambda entry: None
) -> Iterator[Damage]:
    """Read every blob of a part; yields those that are damaged, then those that are missing.

    Raises StoreError.
    """
    entries = list(store.keys.entries())
    for entry in entries:
        if not entry.key.startswith(BLOBS) or not collectable(entry.key):
            continue
        digest = f"sha256:{entry.key.rpartition('/')[2]}"
        # One that is gone by now was not damaged: its training replaced a checkpoint.
        if not store.intact(digest) and store.exists(digest):
            yield Damage(digest, entry.size, evidence.digests.get(digest, ""))
        on_blob(entry)
    marker = Marker(store, entries)
    try:
        marker.needed(evidence, datetime.min.replace(tzinfo=UTC))
    except DigestMismatch:
        return  # Named above.
    for digest, needed_by in sorted(marker.missing().items()):
        yield Damage(digest, None, needed_by)
