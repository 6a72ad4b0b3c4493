"""Fetches a prefix or an archive from an object store: Modelyard's own, or a foreign S3 server.

The credentials of Modelyard's own store are used for the namespace's own part of it, and for
nothing else: a source that names an endpoint, other credentials or a place outside of that part is
read by a reader that does not have them (`open_source` decides).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.api.dataset import S3Source
from modelyard.contract.run import StoreLocation
from modelyard.store.opening import Credentials, Place
from modelyard.store.s3protocol import Endpoint
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.limits import Limits, human
from modelyard.workloads.data.ownstore import OwnStore
from modelyard.workloads.data.s3 import Listed, S3Reader
from modelyard.workloads.errors import UserError

log = logging.getLogger("modelyard.data")

CREDENTIALS_PREFIX = "SOURCE_"
"""The operator gives the user's Secret as SOURCE_AWS_ACCESS_KEY_ID and so on, beside the store's
own AWS_ACCESS_KEY_ID."""
STREAMS_PER_WORKER = 8
"""Small objects are bound by round trips, not by CPU."""
BATCH = 1000
PROGRESS_SECONDS = 10.0
NAME_BYTES = 255
"""Of a file's or folder's name, on Linux' file systems."""


class Reader(Protocol):
    """One bucket, or one part of a store."""

    def pages(self, prefix: str) -> Iterator[list[Listed]]:
        """All objects whose keys begin with `prefix`, in pages."""

    def get(self, key: str, sink: Callable[[Iterator[bytes], int | None], None]) -> None:
        """Pass an object's pieces, and its size if known, to `sink`; again after a failure."""


@dataclass(frozen=True)
class Opened:
    """A source to read from."""

    reader: Reader
    key: str
    """Of the archive, or the prefix, as the reader takes it."""
    label: str
    """Its name for messages."""


def open_source(
    source: S3Source, store: StoreLocation, rules: AddressRules, *, field: str = "spec.source.s3"
) -> Opened:
    """The reader of a source. Nothing is sent yet.

    `store` is the namespace's part of Modelyard's store, `field` the spec's field, for messages.
    Raises UserError for credentials that are missing, or a place that cannot be read.
    """
    credentials = _credentials(source)
    bucket = source.bucket
    own = _own_key(source, store)
    if own is not None:
        label = f"{own or '/'} in this namespace's part of the store, {store.url}"
        if not own or not {".", ".."}.isdisjoint(own.split("/")):
            # A server or file system that resolves `..` would read outside of the part.
            raise UserError(
                "InvalidSource", f"{label}: name a key or a folder, without segments . and .."
            )
        return Opened(OwnStore(store, label, field), own, label)
    assert bucket is not None  # _own_key
    at = f" at {source.endpoint}" if source.endpoint else ""
    label = f"s3://{bucket}/{source.key}{at}"
    if credentials is None and source.endpoint is None and _cloud_identity(store):
        place = StoreLocation(url=f"s3://{bucket}", region=source.region or store.region)
        return Opened(OwnStore(place, label, field), source.key, label)
    try:
        endpoint = Endpoint.of(bucket, source.endpoint, source.region or "us-east-1")
    except ValueError as error:
        raise UserError("InvalidSource", f"{error}; correct {field}.endpoint") from error
    # What the administrator chose as store may have a private address.
    trusted = source.endpoint is not None and _same(source.endpoint, store.endpoint)
    reader = S3Reader(
        endpoint,
        label=label,
        field=field,
        credentials=credentials,
        rules=None if trusted else rules,
    )
    return Opened(reader, source.key, label)


def fetch_archive(opened: Opened, destination: Path, *, limits: Limits) -> None:
    """Fetch one object. Raises UserError, RetryableError."""

    def sink(pieces: Iterator[bytes], size: int | None) -> None:
        limits.check_download(size or 0, opened.label)
        _write(pieces, destination, lambda written: limits.check_download(written, opened.label))

    opened.reader.get(opened.key, sink)
    log.info("fetched %s", human(destination.stat().st_size))


def fetch_prefix(opened: Opened, folder: Path, *, limits: Limits, workers: int) -> None:
    """Fetch all objects of a prefix into `folder`. Raises UserError, RetryableError."""
    objects = _listed(opened, limits)
    if not objects:
        raise UserError(
            "SourceMissing",
            f"{opened.label}: there are no objects under this prefix; correct spec.source.s3.key",
        )
    total = sum(one.size for one in objects)
    log.info("fetching %d objects, %s", len(objects), human(total))
    paths = _paths(objects, folder.resolve(), opened)
    last = time.monotonic()
    # The listing is the server's word; what arrives is counted.
    budget = _Budget(opened.label, limits)

    def one(item: Listed) -> None:
        path = paths[item.key]
        path.parent.mkdir(parents=True, exist_ok=True)

        def sink(pieces: Iterator[bytes], _size: int | None) -> None:
            _write(budget.counted(pieces), path)

        opened.reader.get(item.key, sink)

    with ThreadPoolExecutor(min(32, workers * STREAMS_PER_WORKER)) as pool:
        for start in range(0, len(objects), BATCH):
            list(pool.map(one, objects[start : start + BATCH]))
            if time.monotonic() - last > PROGRESS_SECONDS:
                last = time.monotonic()
                log.info("fetched %d of %d objects", start + BATCH, len(objects))
    log.info("fetched %d objects", len(objects))


class _Budget:
    """Bytes that all threads together have received."""

    def __init__(self, label: str, limits: Limits) -> None:
        self._label, self._limits = label, limits
        self._received = 0
        self._lock = threading.Lock()

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces. Raises UserError where they are too many."""
        for piece in pieces:
            with self._lock:
                self._received += len(piece)
            self._limits.check_download(self._received, self._label)
            yield piece


def _own_key(source: S3Source, store: StoreLocation) -> str | None:
    """The key within the namespace's part of the store, where the source lies there."""
    if source.bucket is None:
        return source.key
    if source.endpoint or source.credentials or not store.url.startswith("s3://"):
        return None
    place = Place.parse(store.url)
    folder = f"{place.prefix}/" if place.prefix else ""
    if source.bucket != place.bucket or not source.key.startswith(folder):
        return None
    return source.key[len(folder) :]


def _cloud_identity(store: StoreLocation) -> bool:
    """Whether pods use an identity of Amazon's cloud instead of a key of the store."""
    at_amazon = store.url.startswith("s3://") and store.endpoint is None
    return at_amazon and not os.environ.get("AWS_ACCESS_KEY_ID")


def _same(endpoint: str, other: str | None) -> bool:
    return other is not None and endpoint.rstrip("/") == other.rstrip("/")


def _credentials(source: S3Source) -> Credentials | None:
    if source.credentials is None:
        return None
    key, secret = (
        os.environ.get(f"{CREDENTIALS_PREFIX}{name}", "")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    if not key or not secret:
        raise UserError(
            "SourceAccessDenied",
            f"Secret {source.credentials.name} has no AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; spec.source.s3.credentials needs both",
        )
    token = os.environ.get(f"{CREDENTIALS_PREFIX}AWS_SESSION_TOKEN")
    return Credentials(key.strip(), secret.strip(), token)


def _listed(opened: Opened, limits: Limits) -> list[Listed]:
    """The files of a prefix: all objects but those that stand for folders."""
    objects: list[Listed] = []
    size = 0
    for page in opened.reader.pages(opened.key):
        objects += page
        size += sum(one.size for one in page)
        limits.check_download(size, opened.label)
        if len(objects) > limits.files:
            raise UserError(
                "SourceTooLarge",
                f"{opened.label} has more than {limits.files} objects; use an archive",
            )
    # Consoles make a folder as an empty object: "shelf/", or "shelf" beside "shelf/…".
    folders = {parent for one in objects for parent in _parents(one.key)}
    return [
        one
        for one in objects
        if one.size or not (one.key.endswith("/") or one.key in folders or one.key == opened.key)
    ]


def _parents(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _paths(objects: list[Listed], root: Path, opened: Opened) -> dict[str, Path]:
    """The file of each object, by its key. Raises DatasetError where a key cannot be a file, or
    two keys would be one: `a//b` and `a/b` are different objects, but the same path."""
    paths: dict[str, Path] = {}
    seen: dict[Path, str] = {}
    for one in objects:
        key = one.key[len(opened.key) :]
        path = paths[one.key] = _path(root, key, opened.label)
        other = seen.setdefault(path, key)
        if other != key:
            raise DatasetError(
                "PathConflict", f"{opened.label}: objects {other!r} and {key!r} are one path"
            )
    for path, key in seen.items():
        for parent in path.relative_to(root).parents:
            if (above := seen.get(root / parent)) is not None:
                raise DatasetError(
                    "PathConflict",
                    f"{opened.label}: object {above!r} is a file, and a folder of {key!r}",
                )
    return paths


def _path(root: Path, key: str, label: str) -> Path:
    path = Path(os.path.normpath(root / key.lstrip("/")))
    if ".." in key.split("/") or not path.is_relative_to(root) or path == root:
        raise DatasetError("PathEscape", f"{label}: object {key!r} leads outside the prefix")
    if any(len(part.encode()) > NAME_BYTES for part in path.parts):
        raise DatasetError(
            "NameTooLong",
            f"{label}: a name of more than {NAME_BYTES} bytes is no file's: object {key!r}",
        )
    return path


def _write(
    pieces: Iterator[bytes], path: Path, on_size: Callable[[int], None] = lambda size: None
) -> None:
    written = 0
    with path.open("wb") as file:
        for piece in pieces:
            written += len(piece)
            on_size(written)
            file.write(piece)
