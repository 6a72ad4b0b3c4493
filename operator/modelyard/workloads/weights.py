"""Fetches weights files by digest: from the store, or once from their source URI."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from modelyard.api.dataset import S3Source
from modelyard.api.modelversion import WeightsSource
from modelyard.contract.run import BaseRun
from modelyard.store import BlobMissing, DigestMismatch, Store, sha256_file
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.limits import GIB, Limits
from modelyard.workloads.errors import UserError, WorkloadError

log = logging.getLogger("modelyard.weights")

UNAVAILABLE = "WeightsUnavailable"
MISMATCH = "DigestMismatch"

LIMITS = Limits(download_bytes=8 * GIB)
"""More than any detection model has; an endless answer must not fill the node's disk."""


def fetch(store: Store, run: BaseRun, source: WeightsSource, directory: Path) -> Path:
    """The weights as a file `weights.pt` or `weights.onnx` in `directory`.

    What had to be fetched from its URI is put into the store of `run`, also in place of a damaged
    blob. Raises UserError if the digest does not match or nothing can be had there, RetryableError
    if the URI cannot be reached now, StoreError.
    """
    path = directory / f"weights.{source.format}"
    lacking = stored(store, source.digest, path)
    if not lacking:
        return path
    if not source.uri:
        raise UserError(
            UNAVAILABLE,
            f"weights {source.digest} are {lacking} the store {store.url}: add them with "
            f"`modelyard weights add FILE -n {run.object.namespace}`, or say where they are with "
            "spec.weights.uri",
        )
    download(source.uri, path, run)
    verify(path, source.digest, _shown(source.uri))
    store.put_file(path)
    return path


def stored(store: Store, digest: str, path: Path) -> str:
    """Fetch a blob from the store; returns what is wrong if it cannot be had there, else "".

    Raises StoreError if the store cannot be used.
    """
    try:
        store.get_file(digest, path)
    except BlobMissing:
        return "not in"
    except DigestMismatch as error:
        log.warning("%s", error)
        return "damaged in"
    return ""


def verify(path: Path, digest: str, origin: str) -> None:
    """Raises UserError if the file is not the one that the digest promises; removes it then."""
    found = sha256_file(path)
    if found != digest:
        path.unlink()
        raise UserError(
            MISMATCH,
            f"{origin} has digest {found}, but {digest} is wanted: correct the digest, or find "
            "out who changed the file",
        )


def download(uri: str, path: Path, run: BaseRun) -> None:
    """Fetch an http(s):// or s3:// URI into a file.

    An s3:// URI, bucket and key as written, is read with the store's credentials where it lies in
    the namespace's part of the store, and anonymously elsewhere.

    Raises UserError if it is not there or not for us, RetryableError if it cannot be reached.
    """
    from modelyard.workloads.data.fetch_http import download as download_http
    from modelyard.workloads.data.fetch_s3 import fetch_archive, open_source

    log.info("fetching %s", _shown(uri))
    rules = AddressRules.parse(run.allowed_private_networks)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        if uri.startswith("s3://"):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            source = S3Source(bucket=bucket, key=key)
            opened = open_source(source, run.store, rules, field="spec.weights.uri")
            fetch_archive(opened, partial, limits=LIMITS)
        else:
            download_http(uri, partial, digest=None, limits=LIMITS, rules=rules)
    except ValidationError as error:
        raise UserError(UNAVAILABLE, f"{uri} is not an s3://bucket/key URL") from error
    except WorkloadError as error:
        # The helpers speak of a dataset's source.
        raise type(error)(UNAVAILABLE, error.message) from error
    else:
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _shown(uri: str) -> str:
    """A URI for messages: an HTTP URL may hold secrets, an s3:// one has none."""
    from modelyard.workloads.data.fetch_http import shown

    return uri if uri.startswith("s3://") else shown(uri)
