"""The artifact store: blobs by digest and pointers by key.

A blob is trusted by its digest alone, so a put never asks whether the blob is there: it sends the
content. That mends a damaged blob, and renews its age, by which the collector spares it
(collector/). fences.py keeps a put from being undone by a sweep that is going on.

keys.py makes the requests, errors.py maps obstore's errors to ours, opening.py makes its client
from a StoreLocation; unfinished.py finds uploads that never ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from modelyard.contract.paths import SWEEPS, blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store.digests import sha256_bytes, sha256_file
from modelyard.store.errors import BlobMissing, DigestMismatch, StoreError, StoreUnavailable
from modelyard.store.fences import Fences
from modelyard.store.keys import CHUNK, Keys
from modelyard.store.opening import Credentials, Retries, open_location
from modelyard.store.unfinished import Uploads, open_uploads

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PUTS = 3
"""Times that a blob is put before somebody else must be deleting it each time."""


class Store:
    """Blobs by digest, and pointers by key. Safe to share between threads.

    Every method may raise StoreUnavailable (after its retries), BucketMissing or AccessDenied.
    """

    def __init__(self, client: ObjectStore, url: str, uploads: Uploads) -> None:
        """Use `Store.open`. `url` is for messages."""
        self.keys = Keys(client, url)
        self.uploads = uploads
        self.fences = Fences(lambda: [one.key for one in self.keys.entries(SWEEPS)])
        self._url = url

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
        return cls(client, f"{location.url}{at}", open_uploads(location, credentials))

    @property
    def url(self) -> str:
        """Where the store is, for messages."""
        return self._url

    def exists(self, digest: str) -> bool:
        """Whether there is a blob with this key, damaged or not; see `intact`."""
        return self.keys.entry(_key(digest)) is not None

    def size(self, digest: str) -> int:
        """The blob's size in bytes. Raises BlobMissing."""
        key = _key(digest)
        found = self.keys.entry(key)
        if found is None:
            raise BlobMissing(f"{self._url}: {key}: not found")
        return found.size

    def put_file(self, path: Path) -> str:
        """Store a file; returns its digest.

        Raises DigestMismatch if the file changes meanwhile; the store then keeps what it had.
        Raises OSError if it cannot be read.
        """
        digest = sha256_file(path)
        what = f"{path}, sent to {self._url}"
        with path.open("rb") as file:
            self._put_blob(digest, lambda: _checked(file, digest, what))
        return digest

    def put_bytes(self, data: bytes) -> str:
        """Store some bytes; returns their digest."""
        digest = sha256_bytes(data)
        self._put_blob(digest, lambda: data)
        return digest

    def intact(self, digest: str) -> bool:
        """Whether the blob is there and its content has this digest; reads all of it."""
        try:
            for _ in self._verified(digest):
                pass
        except (BlobMissing, DigestMismatch):
            return False
        return True

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
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{destination.name[:100]}.", suffix=".partial", dir=destination.parent
        )
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in self._verified(digest):
                    file.write(piece)
                    on_piece(len(piece))
            # mkstemp makes files for the owner alone; this one is as readable as any other.
            partial.chmod(0o644)
            partial.replace(destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return destination

    def get_bytes(self, digest: str) -> bytes:
        """A blob's bytes, verified. Raises BlobMissing, DigestMismatch."""
        return b"".join(bytes(piece) for piece in self._verified(digest))

    def put_pointer(self, key: str, value: dict[str, Any]) -> None:
        """Write a pointer; the last writer wins. Readers see the old or the new one whole."""
        self.keys.put(key, json.dumps(value, sort_keys=True).encode())

    def get_pointer(self, key: str) -> dict[str, Any] | None:
        """A pointer, or None if there is none. Raises StoreError if it is not a JSON object."""
        try:
            data = b"".join(bytes(piece) for piece in self.keys.pieces(key))
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
        self.keys.remove(_key(digest))

    def delete_pointer(self, key: str) -> None:
        """Remove a pointer; no error if it is not there."""
        self.keys.remove(key)

    def _put_blob(self, digest: str, content: Callable[[], bytes | Iterator[bytes]]) -> None:
        """Put a blob until no sweep that was going on meanwhile has removed it."""
        key = _key(digest)
        for _ in range(PUTS):
            self.keys.put(key, content())
            self.fences.wait()
            if self.keys.entry(key) is not None:
                return
        raise StoreUnavailable(f"{self._url}: {key}: was removed each time it had been stored")

    def _verified(self, digest: str) -> Iterator[Any]:
        """A blob's pieces. Raises BlobMissing, and DigestMismatch after the last piece."""
        key = _key(digest)
        hasher = hashlib.sha256()
        for piece in self.keys.pieces(key):
            hasher.update(piece)
            yield piece
        found = f"sha256:{hasher.hexdigest()}"
        if found != digest:
            raise DigestMismatch(
                f"{self._url}: {key}: the content has digest {found}, so the blob is damaged: "
                'storing the right content again mends it (docs/operations.md, "A damaged blob")'
            )


def _key(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise StoreError(
            f"{digest!r} is not a digest: sha256: and 64 lower-case hexadecimal digits are expected"
        )
    return blob_key(digest)


def _checked(file: BinaryIO, digest: str, what: str) -> Iterator[bytes]:
    """A file's content in parts. An error in place of the end aborts the upload, so that no other
    content gets under this digest. Raises DigestMismatch."""
    hasher = hashlib.sha256()
    file.seek(0)
    while part := file.read(CHUNK):
        hasher.update(part)
        yield part
    if f"sha256:{hasher.hexdigest()}" != digest:
        raise DigestMismatch(f"{what}: the file changed meanwhile")
