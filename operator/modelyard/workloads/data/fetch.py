"""Brings a dataset's source to a local folder, whatever kind of source it is."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from modelyard.api.dataset import DatasetSource, PvcSource
from modelyard.contract.run import StoreLocation
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.fetch_http import download
from modelyard.workloads.data.fetch_s3 import fetch_archive, fetch_prefix, open_source
from modelyard.workloads.data.limits import Limits, human
from modelyard.workloads.data.unpack import is_archive, unpack
from modelyard.workloads.errors import UserError

log = logging.getLogger("modelyard.data")


def fetch(
    source: DatasetSource,
    *,
    store: StoreLocation,
    rules: AddressRules,
    mount: Path,
    scratch: Path,
    workers: int,
    limits: Limits,
) -> Path:
    """Fetch the source; returns the folder that holds it, below `scratch` or `mount`.

    `rules` say which addresses may be connected to. `mount` is where the claim of a PVC source is
    mounted; it is only read. Raises UserError for a source that is not there or may not be read,
    DatasetError for a bad archive, RetryableError for a source that cannot be reached.
    """
    folder = scratch / "source"
    # A container that is started again finds what the last one left.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = limits.within(scratch)
    if source.pvc:
        return _from_claim(source.pvc, mount, folder, limits)
    archive = scratch / "archive"
    if source.http:
        log.info("fetching %s", source.http.url.partition("?")[0])
        label = download(
            source.http.url, archive, digest=source.http.digest, limits=limits, rules=rules
        )
    elif source.s3:
        opened = open_source(source.s3, store, rules)
        label = opened.label
        log.info("fetching %s", label)
        if opened.key.endswith("/"):
            fetch_prefix(opened, folder, limits=limits, workers=workers)
            return folder
        fetch_archive(opened, archive, limits=limits)
    else:
        raise UserError("InvalidSource", "spec.source has none of s3, http and pvc")
    _unpack(archive, folder, limits, label)
    archive.unlink()
    return folder


def _from_claim(source: PvcSource, mount: Path, folder: Path, limits: Limits) -> Path:
    label = f"claim {source.claim_name}: {source.path or '/'}"
    path = Path(os.path.realpath(mount / source.path.lstrip("/")))
    if not path.is_relative_to(mount.resolve()):
        raise UserError("InvalidSource", f"{label} leads outside the claim")
    try:
        if path.is_dir():
            # Fails for a folder that may not be listed, before it looks like an empty one.
            os.scandir(path).close()
            return path
        if not path.exists():
            raise UserError(
                "SourceMissing", f"{label} does not exist; correct spec.source.pvc.path"
            )
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise UserError(
            "SourceAccessDenied", f"{label} cannot be read; make it readable for user 65532"
        ) from error
    _unpack(path, folder, limits, label)
    return folder


def _unpack(archive: Path, folder: Path, limits: Limits, label: str) -> None:
    if not is_archive(archive):
        raise UserError(
            "NoArchive",
            f"{label} ({human(archive.stat().st_size)}) is neither a zip nor a tar archive; the "
            "source must be a .zip, .tar, .tar.gz or .tgz archive",
        )
    count = unpack(archive, folder, limits, label)
    log.info("unpacked %d files", count)
