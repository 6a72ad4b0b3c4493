"""Reads users' objects with the pod's own credentials: the namespace's part of Modelyard's store.

Through obstore, since the store may be S3, Google Cloud Storage, Azure or a directory. Errors are
those of a source: the object may be missing, while the store works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import obstore

from modelyard.contract.run import StoreLocation
from modelyard.store.errors import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    StoreError,
    StoreUnavailable,
    translated,
)
from modelyard.store.opening import open_location
from modelyard.workloads.data.s3 import Listed
from modelyard.workloads.errors import RetryableError, UserError, WorkloadError

_PIECE = 4 * 1024 * 1024


class OwnStore:
    """One part of a store; keys are relative to it. Safe to share between threads.

    Methods raise UserError, RetryableError.
    """

    def __init__(self, location: StoreLocation, label: str, field: str) -> None:
        """`label` names the source in messages, `field` the spec's field."""
        self._location = location
        self._label = label
        self._field = field
        with self._as_source():
            self._client = open_location(location)

    def pages(self, prefix: str) -> Iterator[list[Listed]]:
        """All objects whose keys begin with `prefix`, which ends in `/`, in pages."""
        folder = quote(prefix) if self._location.url.startswith("file:") else prefix
        place = self._location.model_copy(
            update={"url": f"{self._location.url.rstrip('/')}/{folder}"}
        )
        with self._as_source():
            # A prefix of the client is sent as written.
            pages = iter(obstore.list(open_location(place)))
            while True:
                with translated(self._label, ""):
                    page = next(pages, None)
                if page is None:
                    return
                yield [Listed(prefix + one["path"], one["size"]) for one in page]

    def get(self, key: str, sink: Callable[[Iterator[bytes], int | None], None]) -> None:
        """Pass an object's bytes, in pieces, and its size to `sink`."""
        with self._as_source():
            with translated(self._label, ""):
                result = obstore.get(self._client, key)
            sink(self._pieces(result), result.meta["size"])

    def _pieces(self, result: obstore.GetResult) -> Iterator[bytes]:
        stream = iter(result.stream(min_chunk_size=_PIECE))
        while True:
            # Only obstore's errors are translated, not the caller's (such as a full disk).
            with translated(self._label, ""):
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    @contextmanager
    def _as_source(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise self._source_error(error) from error

    def _source_error(self, error: StoreError) -> WorkloadError:
        if isinstance(error, AccessDenied):
            return UserError("SourceAccessDenied", str(error))
        if isinstance(error, BlobMissing | BucketMissing):
            return UserError("SourceMissing", f"{error}; correct {self._field}")
        if isinstance(error, StoreUnavailable):
            return RetryableError("SourceUnavailable", str(error))
        return UserError("InvalidSource", str(error))
