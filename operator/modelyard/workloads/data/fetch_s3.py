"""Fetches a prefix or an archive from an S3-compatible object store."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from modelyard.api.dataset import S3Source
from modelyard.contract.run import StoreLocation
from modelyard.store.errors import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    StoreError,
    StoreUnavailable,
    translated,
)
from modelyard.store.opening import Credentials, open_location
from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.limits import Limits, human
from modelyard.workloads.errors import RetryableError, UserError, WorkloadError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logging.getLogger("modelyard.data")

CREDENTIALS_PREFIX = "SOURCE_"
"""The operator gives the user's Secret as SOURCE_AWS_ACCESS_KEY_ID and so on, beside the store's
own AWS_ACCESS_KEY_ID."""
STREAMS_PER_WORKER = 8
"""Small objects are bound by round trips, not by CPU."""
BATCH = 1000
PROGRESS_SECONDS = 10.0
_PIECE = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Object:
    key: str
    """Relative to the prefix."""
    size: int


def open_source(source: S3Source, store: StoreLocation) -> tuple[ObjectStore, str]:
    """The client for a source, and its name for messages. Nothing is sent yet.

    Keys are relative to the prefix for a prefix, and to the bucket for an archive. A source with
    neither endpoint nor credentials lies where the store does, if that is S3.
    """
    credentials = _credentials(source)
    endpoint, region = source.endpoint, source.region
    if endpoint is None and credentials is None and store.url.startswith("s3://"):
        endpoint, region = store.endpoint, region or store.region
    prefix = source.key if source.key.endswith("/") else ""
    location = StoreLocation(
        url=f"s3://{source.bucket}/{prefix}", endpoint=endpoint, region=region or "us-east-1"
    )
    at = f" at {endpoint}" if endpoint else ""
    label = f"s3://{source.bucket}/{source.key}{at}"
    with _as_source():
        return open_location(location, credentials=credentials), label


def fetch_archive(
    client: ObjectStore, label: str, key: str, destination: Path, *, limits: Limits
) -> None:
    """Fetch one object. Raises UserError, RetryableError."""
    with _as_source():
        with translated(label, ""):
            result = obstore.get(client, key)
        limits.check_download(result.meta["size"], label)
        _write(result, destination, label)
    log.info("fetched %s", human(destination.stat().st_size))


def fetch_prefix(
    client: ObjectStore, label: str, folder: Path, *, limits: Limits, workers: int
) -> None:
    """Fetch all objects of a prefix into `folder`. Raises UserError, RetryableError."""
    with _as_source():
        objects = _listed(client, label, limits)
        if not objects:
            raise UserError(
                "SourceMissing",
                f"{label}: there are no objects under this prefix; correct spec.source.s3.key",
            )
        total = sum(one.size for one in objects)
        log.info("fetching %d objects, %s", len(objects), human(total))
        root = folder.resolve()
        last = time.monotonic()

        def one(item: _Object) -> None:
            path = _path(root, item.key, label)
            path.parent.mkdir(parents=True, exist_ok=True)
            with translated(label, item.key):
                result = obstore.get(client, item.key)
            _write(result, path, f"{label}{item.key}")

        with ThreadPoolExecutor(min(32, workers * STREAMS_PER_WORKER)) as pool:
            for start in range(0, len(objects), BATCH):
                list(pool.map(one, objects[start : start + BATCH]))
                if time.monotonic() - last > PROGRESS_SECONDS:
                    last = time.monotonic()
                    log.info("fetched %d of %d objects", start + BATCH, len(objects))
    log.info("fetched %d objects", len(objects))


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


def _listed(client: ObjectStore, label: str, limits: Limits) -> list[_Object]:
    objects: list[_Object] = []
    size = 0
    pages = iter(obstore.list(client))
    while True:
        with translated(label, ""):
            page = next(pages, None)
        if page is None:
            break
        for meta in page:
            objects.append(_Object(meta["path"], meta["size"]))
            size += meta["size"]
        limits.check_download(size, label)
        if len(objects) > limits.files:
            raise UserError(
                "SourceTooLarge", f"{label} has more than {limits.files} objects; use an archive"
            )
    # Consoles make a folder as an empty object named like it.
    folders = {parent for one in objects for parent in _parents(one.key)}
    return [one for one in objects if one.size or one.key not in folders]


def _parents(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _path(root: Path, key: str, label: str) -> Path:
    path = Path(os.path.normpath(root / key.lstrip("/")))
    if ".." in key.split("/") or not path.is_relative_to(root) or path == root:
        raise DatasetError("PathEscape", f"{label}: object {key!r} leads outside the prefix")
    return path


def _write(result: obstore.GetResult, path: Path, label: str) -> None:
    stream = iter(result.stream(min_chunk_size=_PIECE))
    with path.open("wb") as file:
        while True:
            with translated(label, ""):
                piece = next(stream, None)
            if piece is None:
                return
            file.write(piece)


@contextmanager
def _as_source() -> Iterator[None]:
    """Errors of the user's store are the source's, not those of Modelyard's own store."""
    try:
        yield
    except StoreError as error:
        raise _source_error(error) from error


def _source_error(error: StoreError) -> WorkloadError:
    if isinstance(error, AccessDenied):
        return UserError("SourceAccessDenied", str(error))
    if isinstance(error, BlobMissing | BucketMissing):
        return UserError("SourceMissing", f"{error}; correct spec.source.s3")
    if isinstance(error, StoreUnavailable):
        return RetryableError("SourceUnavailable", str(error))
    return UserError("InvalidSource", str(error))
