"""What a store can do with a key, with obstore's errors as ours: all requests go through here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import obstore

from modelyard.store.errors import BlobMissing, translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CHUNK = 8 * 1024 * 1024
"""Size of one part of an upload and minimum size of one piece of a download, in bytes. S3 allows
10,000 parts, so a blob may have 80 GB."""
UPLOADS = 4
"""Concurrent uploads of parts of one blob: 32 MiB of memory."""


@dataclass(frozen=True)
class Entry:
    """One key of a store."""

    key: str
    size: int
    """In bytes."""
    modified: datetime
    """When it was put last, by the store's clock."""


class Keys:
    """The keys of a store. Safe to share between threads.

    Every method may raise StoreUnavailable (after its retries), BucketMissing or AccessDenied.
    """

    def __init__(self, client: ObjectStore, url: str) -> None:
        """`url` is for messages."""
        self.client = client
        self.url = url
        self._bucket_seen = False

    def put(self, key: str, content: bytes | Iterator[bytes]) -> None:
        """Store some content; readers see the old or the new one whole. An error of the iterator
        stores nothing."""
        with translated(self.url, key):
            obstore.put(self.client, key, content, chunk_size=CHUNK, max_concurrency=UPLOADS)

    def pieces(self, key: str) -> Iterator[Any]:
        """The content in pieces. Raises BlobMissing."""
        with translated(self.url, key):
            stream = iter(obstore.get(self.client, key).stream(min_chunk_size=CHUNK))
        while True:
            # Only obstore's errors are translated, not the caller's OSError (such as a full disk).
            with translated(self.url, key):
                piece = next(stream, None)
            if piece is None:
                return
            yield piece

    def first_byte(self, entry: Entry) -> bytes:
        """The first byte of the content; empty if it is empty. Raises BlobMissing."""
        if not entry.size:
            return b""
        with translated(self.url, entry.key):
            return bytes(obstore.get_range(self.client, entry.key, start=0, length=1))

    def entry(self, key: str) -> Entry | None:
        """Size and age; None if the key is not there."""
        try:
            with translated(self.url, key):
                found = obstore.head(self.client, key)
        except BlobMissing:
            self._expect_bucket(key)
            return None
        self._bucket_seen = True
        return Entry(key, found["size"], found["last_modified"])

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """All keys that begin with a prefix, which ends with a slash or is empty."""
        with translated(self.url, prefix):
            pages = iter(obstore.list(self.client, prefix or None, chunk_size=1000))
        while True:
            with translated(self.url, prefix):
                page = next(pages, None)
            if page is None:
                return
            for one in page:
                yield Entry(one["path"], one["size"], one["last_modified"])

    def remove(self, key: str) -> None:
        """Remove a key; no error if it is not there."""
        try:
            with translated(self.url, key):
                obstore.delete(self.client, key)
        except BlobMissing:
            pass

    def _expect_bucket(self, key: str) -> None:
        """Raise BucketMissing if the bucket is missing: only the response to a GET shows that."""
        if self._bucket_seen:
            return
        try:
            with translated(self.url, key):
                obstore.get(self.client, key)
        except BlobMissing:
            pass
        self._bucket_seen = True
