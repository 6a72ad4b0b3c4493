"""Uploads of a part of the store that were begun and never ended.

A blob of more than one piece is sent as a multipart upload. If its sender is killed, the pieces
that arrived stay in the store and take space, but no listing of objects shows them. obstore can
neither list nor abort those of others, so this module does it: on S3 with two requests of its own,
in a directory by the names of obstore's partial files. Google Cloud Storage and Azure remove them
by themselves after a week. collector/abandoned.py decides which are too old.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Protocol

from modelyard.contract.run import StoreLocation
from modelyard.store.errors import AccessDenied, StoreError, StoreUnavailable
from modelyard.store.opening import Credentials, Place
from modelyard.store.s3protocol import Endpoint, parse_listing, signed_headers

_TIMEOUT = 30.0
_ATTEMPTS = 3
FIRST_WAIT_SECONDS = 2.0
_PAGE_BYTES = 16 << 20
"""Of one page of a listing: 1,000 uploads, whose keys have at most 1,024 bytes, escaped."""
_PARTIAL = re.compile(r".+#\d+")
"""Name of a file that obstore is writing, beside the file that it is going to be."""


@dataclass(frozen=True)
class Upload:
    """An upload that was begun."""

    key: str
    """Relative to the part of the store; of a directory, that of the partial file."""
    began: datetime
    """By the store's clock; in a directory, when the partial file was written last."""
    id: str = field(default="", repr=False)


class Uploads(Protocol):
    """The unfinished uploads of one part."""

    @property
    def unknown(self) -> str:
        """Why they cannot be known, and what to do; empty if they can."""

    def begun(self) -> Iterator[Upload]:
        """All of them; none if `unknown`. Raises AccessDenied, StoreUnavailable, StoreError."""

    def abort(self, upload: Upload) -> None:
        """Drop what has arrived of one; its sender's next request fails. No error if it has ended.
        Raises as `begun` does."""


def open_uploads(location: StoreLocation, credentials: Credentials | None) -> Uploads:
    """Those of a location; nothing is sent yet. Without `credentials`, a key is taken from the
    environment. Raises StoreError for an unusable URL."""
    place = Place.parse(location.url)
    if place.scheme == "file":
        return _InDirectory(Path("/", place.prefix))
    if place.scheme != "s3":
        return _Unknown("this cloud removes them by itself after a week")
    key = credentials or _from_environment(os.environ)
    if key is None:
        return _Unknown(
            "there is no access key to list them with: let a lifecycle rule of the bucket "
            "abort them (docs/store.md)"
        )
    try:
        endpoint = Endpoint.of(place.bucket, location.endpoint, location.region)
    except ValueError as error:
        return _Unknown(f"the store's endpoint cannot be asked for them: {error}")
    prefix = f"{place.prefix}/" if place.prefix else ""
    return _OnS3(endpoint, prefix, key, location.url)


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    key = environment.get("AWS_ACCESS_KEY_ID")
    secret = environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return Credentials(key, secret, environment.get("AWS_SESSION_TOKEN") or None)


@dataclass(frozen=True)
class _Unknown:
    unknown: str

    def begun(self) -> Iterator[Upload]:
        return iter(())

    def abort(self, upload: Upload) -> None:
        raise StoreError(f"{upload.key}: {self.unknown}")


@dataclass(frozen=True)
class _InDirectory:
    folder: Path
    unknown: str = ""

    def begun(self) -> Iterator[Upload]:
        for folder, _, names in os.walk(self.folder):
            for name in filter(_PARTIAL.fullmatch, names):
                path = Path(folder, name)
                try:
                    written = path.lstat().st_mtime
                except FileNotFoundError:
                    continue  # It has ended.
                key = path.relative_to(self.folder).as_posix()
                yield Upload(key, datetime.fromtimestamp(written, UTC))

    def abort(self, upload: Upload) -> None:
        try:
            (self.folder / upload.key).unlink(missing_ok=True)
        except OSError as error:
            raise AccessDenied(f"{self.folder}: {upload.key}: {error.strerror}") from error


class _InvalidArgument(StoreError):
    """The server does not take an argument of the request."""


@dataclass(frozen=True)
class _OnS3:
    endpoint: Endpoint
    prefix: str
    """Of the part within the bucket; empty, or with a slash at its end."""
    credentials: Credentials = field(repr=False)
    url: str
    """For messages."""
    unknown: str = ""
    page: int = 1000
    """Uploads that are listed at a time."""

    def begun(self) -> Iterator[Upload]:
        query = {"uploads": "", "max-uploads": str(self.page)}
        if self.prefix:
            query["prefix"] = self.prefix
        marker: tuple[str, ...] = ()
        while True:
            root = parse_listing(self._listed(query), "ListMultipartUploadsResult")
            if root is None:
                raise StoreError(f"{self.url}: the server's list of uploads is not one of S3")
            for one in root.iterfind("{*}Upload"):
                yield self._read(*(one.findtext(f"{{*}}{n}", "") for n in _FIELDS))
            if root.findtext("{*}IsTruncated") != "true":
                return
            last, marker = marker, tuple(root.findtext(f"{{*}}Next{n}", "") for n in _MARKERS)
            if marker == last:
                raise StoreError(f"{self.url}: the server's list of uploads does not end")
            query["key-marker"], query["upload-id-marker"] = marker

    def _listed(self, query: dict[str, str]) -> bytes:
        """A page. versitygw 1.8 refuses the upload's id that it gave itself. With the key alone it
        goes on with the next key; a second upload of the same key is then left to the next run."""
        try:
            return self._send("GET", "", query)
        except _InvalidArgument:
            if not query.pop("upload-id-marker", ""):
                raise
            return self._send("GET", "", query)

    def abort(self, upload: Upload) -> None:
        self._send("DELETE", self.prefix + upload.key, {"uploadId": upload.id})

    def _read(self, key: str, upload: str, began: str) -> Upload:
        try:
            when = datetime.fromisoformat(began)
        except ValueError as error:
            raise StoreError(f"{self.url}: an upload began at {began!r:.40}") from error
        if not key.startswith(self.prefix) or not upload or when.tzinfo is None:
            raise StoreError(f"{self.url}: the server's list of uploads is not one of S3")
        return Upload(key.removeprefix(self.prefix), when, upload)

    def _send(self, method: str, key: str, query: Mapping[str, str]) -> bytes:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(FIRST_WAIT_SECONDS * attempt)
            try:
                status, body = self._answer(method, key, query)
            except (OSError, HTTPException) as error:
                status, detail = 0, str(error) or type(error).__name__
            else:
                found = _CODE.search(body)
                code = found[1].decode() if found else ""
                if status in (200, 204) or code == "NoSuchUpload":
                    return body
                detail = f"{status} {code}".rstrip()
                if status in (401, 403) or code in _NO_ACCESS:
                    raise AccessDenied(f"{self.url}: unfinished uploads: access denied ({detail})")
                if code == "InvalidArgument":
                    raise _InvalidArgument(f"{self.url}: unfinished uploads: {detail}")
            if 400 <= status < 500 and status != 429:
                break
        raise StoreUnavailable(f"{self.url}: unfinished uploads: {detail}")

    def _answer(self, method: str, key: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        at = self.endpoint
        target = at.target(key, query)
        kind = HTTPSConnection if at.scheme == "https" else HTTPConnection
        connection = kind(at.host, timeout=_TIMEOUT)
        try:
            headers = signed_headers(at.host, target, at.region, self.credentials, method=method)
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_PAGE_BYTES)
        finally:
            connection.close()


_MARKERS = ("KeyMarker", "UploadIdMarker")
_FIELDS = ("Key", "UploadId", "Initiated")
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
# versitygw answers 404 to an unknown access key.
_NO_ACCESS = frozenset(("AccessDenied", "InvalidAccessKeyId", "XAdminUserNotFound"))
