"""Marks the keys that are needed, of those that a part holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from modelyard.contract.paths import BLOBS, RUNS, WEIGHTS, blob_key
from modelyard.store.collector.evidence import Evidence, captures_in, digests_in
from modelyard.store.errors import BlobMissing
from modelyard.store.keys import Entry
from modelyard.store.store import Store

_THREADS = 16
MISSING = 100
"""Missing digests that are named."""


class Marker:
    """Marks one part, any number of times: what a blob mentions never changes."""

    def __init__(self, store: Store, entries: Iterable[Entry]) -> None:
        self._store = store
        self._entries: Mapping[str, Entry] = {one.key: one for one in entries}
        self._mentioned: dict[str, set[str]] = {}
        """By digest, what a JSON blob mentions."""
        self.captures: set[str] = set()
        """Keys of captures that JSON blobs mention that were needed at some time."""
        self._missing: dict[str, str] = {}

    def needed(self, evidence: Evidence, since: datetime) -> set[str]:
        """Keys that are needed. Pointers of runs that were written after `since` count, whether or
        not their TrainingJob is known.

        Raises DigestMismatch if a JSON blob is damaged, for then what it needs is not known;
        StoreError.
        """
        keys: set[str] = set()
        wanted = dict(evidence.digests)
        for key, entry in self._entries.items():
            run = key.removeprefix(RUNS).partition("/")[0] if key.startswith(RUNS) else ""
            young = entry.modified >= since
            if key.startswith(WEIGHTS) or (run and (run in evidence.trainings or young)):
                keys.add(key)
                for digest in self._pointed(key):
                    wanted.setdefault(digest, key)
        self._missing = {}
        todo = dict(wanted)
        with ThreadPoolExecutor(_THREADS) as pool:
            while todo:
                there = {d: by for d, by in todo.items() if blob_key(d) in self._entries}
                self._missing |= {d: by for d, by in todo.items() if d not in there}
                keys |= {blob_key(digest) for digest in there}
                found = zip(there.values(), pool.map(self._mentions, there), strict=True)
                todo = {d: by for by, digests in found for d in digests if d not in wanted}
                wanted |= todo
        return keys

    def missing(self) -> dict[str, str]:
        """Digests that were needed at last and are not there, each with what needs it: the first
        ones. What has been put since the part was listed is there."""
        first = sorted(self._missing.items())[:MISSING]
        return {d: by for d, by in first if self._store.keys.entry(blob_key(d)) is None}

    def _pointed(self, key: str) -> set[str]:
        try:
            data = b"".join(bytes(piece) for piece in self._store.keys.pieces(key))
        except BlobMissing:
            return set()  # Its training has ended since the part was listed.
        return digests_in(data.decode(errors="replace"))

    def _mentions(self, digest: str) -> set[str]:
        """What a blob mentions if it is JSON, as an index and a manifest are."""
        if digest not in self._mentioned:
            entry = self._entries[blob_key(digest)]
            try:
                json = self._store.keys.first_byte(entry) == b"{"
                text = self._store.get_bytes(digest).decode(errors="replace") if json else ""
            except BlobMissing:
                return set()  # A checkpoint that its training has replaced.
            self._mentioned[digest] = digests_in(text)
            self.captures |= captures_in(text)
        return self._mentioned[digest]


def collectable(key: str) -> bool:
    """Whether the collector may ever delete a key; what it does not know it leaves."""
    if key.startswith(BLOBS):
        return blob_key(f"sha256:{key.rpartition('/')[2]}") == key
    return key.startswith(RUNS)
