"""The artifact store: blobs by digest and pointers by key, on top of obstore.

errors.py maps obstore's errors to ours, opening.py makes its client from a StoreLocation.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import obstore

from modelyard.contract.paths import blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store.digests import sha256_bytes, sha256_file
from modelyard.store.errors import BlobMissing, DigestMismatch, StoreError, translated
from modelyard.store.opening import Credentials, Retries, open_location

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CHUNK = 8 * 1024 * 1024
"""Size of one part of an upload and minimum size of one piece of a download, in bytes. S3 allows
10,000 parts, so a blob may have 80 GB."""
UPLOADS = 4
"""Concurrent uploads of parts of one blob: 32 MiB of memory."""


class Store:
    """Blobs by digest, and pointers by key. Safe to share between threads.

    Every method may raise StoreUnavailable (after its retries), BucketMissing or AccessDenied.
    """

    def __init__(self, client: ObjectStore, url: str) -> None:
        """Use `Store.open`. `url` is for messages."""
        self._client = client
        self._url = url
        self._bucket_seen = False

    @classmethod
    def open(
        cls,
        location: StoreLocation,
        *,
        credentials: Credentials | None = None,
        retries: Retries | None = None,
    ) -> Self:
        """The store at a location; nothing is sent yet. Raises StoreError for an unusable URL."""
        client = open_location(location, credentials=credentials, retries=retries)
        at = f" at {location.endpoint}" if location.endpoint else ""
        return cls(client, f"{location.url}{at}")

    @property
    def url(self) -> str:
        """Where the store is, for messages."""
        return self._url

    def exists(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self._size(_key(digest)) is not None

    def size(self, digest: str) -> int:
        """The blob's size in bytes. Raises BlobMissing."""
        key = _key(digest)
        size = self._size(key)
        if size is None:
            raise BlobMissing(f"{self._url}: {key}: not found")
        return size

    def put_file(self, path: Path) -> str:
        """Store a file; returns its digest. Sends nothing if the store has the blob already.

        Raises DigestMismatch if the file changes meanwhile, OSError if it cannot be read.
        """
        before = _stamp(path)
        digest = sha256_file(path)
        key = _key(digest)
        if self._size(key) != before[0]:
            with translated(self._url, key):
                obstore.put(self._client, key, path, chunk_size=CHUNK, max_concurrency=UPLOADS)
            if _stamp(path) != before:
                with translated(self._url, key):
                    obstore.delete(self._client, key)
                raise DigestMismatch(f"{path} changed while it was sent to {self._url}")
        return digest

    def put_bytes(self, data: bytes) -> str:
        """Store some bytes; returns their digest."""
        digest = sha256_bytes(data)
        key = _key(digest)
        if self._size(key) != len(data):
            with translated(self._url, key):
                obstore.put(self._client, key, data, chunk_size=CHUNK, max_concurrency=UPLOADS)
        return digest

    def get_file(
        self,
        digest: str,
        destination: Path,
        *,
        on_piece: Callable[[int], None] = lambda size: None,
    ) -> Path:
        """Fetch a blob into a file, which appears only once it is complete and verified.

        `on_piece` is called with the size of each piece; its exceptions end the fetch.
        Returns `destination`. Raises BlobMissing, DigestMismatch, OSError if it cannot be written.
        """
        key = _key(digest)
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{destination.name[:100]}.", suffix=".partial", dir=destination.parent
        )
        partial = Path(name)
        try:
            hasher = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for piece in self._pieces(key):
                    hasher.update(piece)
                    file.write(piece)
                    on_piece(len(piece))
            self._verify(digest, f"sha256:{hasher.hexdigest()}")
            # mkstemp makes files for the owner alone; this one is as readable as any other.
            partial.chmod(0o644)
            partial.replace(destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return destination

    def get_bytes(self, digest: str) -> bytes:
        """A blob's bytes, verified. Raises BlobMissing, DigestMismatch."""
        data = b"".join(bytes(piece) for piece in self._pieces(_key(digest)))
        self._verify(digest, sha256_bytes(data))
        return data

    def put_pointer(self, key: str, value: dict[str, Any]) -> None:
        """Write a pointer; the last writer wins. Readers see the old or the new one whole."""
        data = json.dumps(value, sort_keys=True).encode()
        with translated(self._url, key):
            obstore.put(self._client, key, data, use_multipart=False)

    def get_pointer(self, key: str) -> dict[str, Any] | None:
        """A pointer, or None if there is none. Raises StoreError if it is not a JSON object."""
        try:
            data = b"".join(bytes(piece) for piece in self._pieces(key))
        except BlobMissing:
            return None
        try:
            value = json.loads(data)
        except ValueError as error:
            raise StoreError(f"{self._url}: {key}: is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise StoreError(f"{self._url}: {key}: is not a JSON object")
        return value

    def delete(self, digest: str) -> None:
        """Remove a blob that only its caller refers to; no error if it is not there."""
        self._delete(_key(digest))

    def delete_pointer(self, key: str) -> None:
        """Remove a pointer; no error if it is not there."""
        self._delete(key)

    def _delete(self, key: str) -> None:
        try:
            with translated(self._url, key):
                obstore.delete(self._client, key)
        except BlobMissing:
            pass

    def _size(self, key: str) -> int | None:
        try:
            with translated(self._url, key):
                found: int = obstore.head(self._client, key)["size"]
        except BlobMissing:
            self._expect_bucket(key)
            return None
        self._bucket_seen = True
        return found

    def _expect_bucket(self, key: str) -> None:
        """Raise BucketMissing if the bucket is missing: only the response to a GET shows that."""
        if self._bucket_seen:
            return
        try:
            with translated(self._url, key):
                obstore.get(self._client, key)
        except BlobMissing:
            pass
        self._bucket_seen = True

    def _pieces(self, key: str) -> Any:
        with translated(self._url, key):
            stream = iter(obstore.get(self._client, key).stream(min_chunk_size=CHUNK))
        while True:
            # Only obstore's errors are translated, not the caller's OSError (such as a full disk).
            with translated(self._url, key):
                piece = next(stream, None)
            if piece is None:
                return
            yield piece

    def _verify(self, wanted: str, found: str) -> None:
        if found != wanted:
            raise DigestMismatch(
                f"{self._url}: {blob_key(wanted)}: the content has digest {found}; the blob is "
                "damaged: delete it and publish it again"
            )


def _key(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise StoreError(
            f"{digest!r} is not a digest: sha256: and 64 lower-case hexadecimal digits are expected"
        )
    return blob_key(digest)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
