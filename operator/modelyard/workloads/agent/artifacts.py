"""The cache of artifacts and manifests: fetched by digest, verified at every use.

    <root>/blobs/sha256/<64 digits>   model files and manifests

The least recently used ones go when the quota is reached, never those in use.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelyard.api.modelserver import Assignment
from modelyard.contract.manifest import ArtifactManifest, parse_manifest
from modelyard.contract.paths import blob_key
from modelyard.contract.profile import MAX_BYTES, ProfileSummary, parse_summary
from modelyard.store import Store, sha256_file
from modelyard.store.errors import StoreError

logger = logging.getLogger(__name__)

_MANIFEST_BYTES = 64 * 1024
"""What a manifest takes at most, usually; its size is not known before."""
_MAX_MANIFEST_BYTES = 1024 * 1024
"""A manifest is read into memory: thousands of class names take 100 kB."""


class ManifestError(ValueError):
    """The manifest cannot be used for this assignment."""


class QuotaError(Exception):
    """The artifact does not fit beside what is in use."""


class StoppedError(Exception):
    """The fetch was not to go on."""


@dataclass(frozen=True)
class Fetched:
    """An artifact on disk."""

    manifest: ArtifactManifest
    model_file: Path
    downloaded: int
    """Bytes that came from the store; 0 if everything was cached."""
    profile: ProfileSummary | None = None
    """Summary of the version's profile; None if it has none, or it was not had: see
    ArtifactCache.profile."""


class ArtifactCache:
    """Blocking calls; run them in threads. Several fetches may go on at a time."""

    def __init__(
        self,
        root: Path,
        store: Store,
        quota: int,
        in_use: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`quota` is in bytes; `in_use` gives the digests that must stay, whatever the quota.

        The folder is this agent's alone: what an earlier one left half fetched is removed.
        """
        self._root = root
        self._store = store
        self._quota = quota
        self._in_use = in_use
        self._index = threading.Lock()
        self._fetching: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._reserved: dict[str, int] = {}
        """Bytes that fetches in progress will take, by digest."""
        for path, _ in self._entries(partial=True):
            path.unlink(missing_ok=True)

    def fetch(self, assignment: Assignment, goes_on: Callable[[], bool] = lambda: True) -> Fetched:
        """The assignment's manifest and model file, verified.

        Two fetches of one artifact share the download. `goes_on` is asked between pieces of a
        download. Raises StoreError, ManifestError, QuotaError, OSError if the disk is full, and
        StoppedError if it was not to go on.
        """
        own = {assignment.digest, assignment.manifest_digest}
        if assignment.profile_digest:
            own.add(assignment.profile_digest)
        path, downloaded = self._blob(assignment.manifest_digest, _MANIFEST_BYTES, own, goes_on)
        manifest = _parse(path, assignment)
        size = manifest.file.size_bytes
        model_file, more = self._blob(assignment.digest, size, own, goes_on)
        if downloaded + more or self._has(assignment.profile_digest):
            return Fetched(manifest, model_file, downloaded + more, self.profile(assignment))
        # A store that cannot be reached now would hold up what is here to be served.
        return Fetched(manifest, model_file, 0)

    def profile(self, assignment: Assignment) -> ProfileSummary | None:
        """The summary of the version's profile, from the cache or the store; None if it has none,
        or it cannot be had now: monitoring works without it, and nothing else needs it."""
        digest = assignment.profile_digest
        if digest is None:
            return None
        own = {assignment.digest, assignment.manifest_digest, digest}
        try:
            path, _ = self._blob(digest, MAX_BYTES, own, lambda: True)
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
            return parse_summary(path.read_bytes())
        except (StoreError, QuotaError, OSError, ValueError) as error:
            logger.warning("no profile of %s (%s): %s", assignment.model_version, digest, error)
            return None

    def _has(self, digest: str | None) -> bool:
        return digest is not None and self._path(digest).exists()

    def evict(self) -> int:
        """Removes what was used longest ago until the quota is kept; returns the bytes freed."""
        with self._index:
            return self._evict(set(), 0)[0]

    def size(self) -> int:
        """Bytes in the cache."""
        return sum(stat.st_size for _, stat in self._entries())

    def _blob(
        self, digest: str, size: int, own: set[str], goes_on: Callable[[], bool]
    ) -> tuple[Path, int]:
        path = self._path(digest)
        with self._index:
            lock = self._fetching[digest]
        with lock:
            if path.exists():
                if sha256_file(path) == digest:
                    os.utime(path)
                    return path, 0
                logger.warning("%s in the cache is damaged, fetching it again", path)
                path.unlink(missing_ok=True)
            self._reserve(digest, size, own)
            fetched = 0

            def on_piece(piece: int) -> None:
                nonlocal fetched
                _check(goes_on)
                fetched += piece
                if fetched > size:
                    # More than was announced: the quota is about what lies on the disk.
                    self._reserve(digest, fetched, own)

            try:
                self._store.get_file(digest, path, on_piece=on_piece)
            finally:
                with self._index:
                    self._reserved.pop(digest, None)
        return path, path.stat().st_size

    def _reserve(self, digest: str, size: int, own: set[str]) -> None:
        with self._index:
            self._reserved.pop(digest, None)
            _, missing = self._evict(own, size)
            if missing > 0:
                raise QuotaError(
                    f"{size / 1e6:.1f} MB do not fit into the cache's quota of "
                    f"{self._quota / 1e6:.1f} MB beside what serves and what a rollback needs "
                    f"({missing / 1e6:.1f} MB are missing): raise the quota"
                )
            self._reserved[digest] = size

    def _evict(self, own: set[str], room: int) -> tuple[int, int]:
        """Makes room for so many bytes, or leaves all as it is if that is not possible; returns
        the bytes freed, and those that are missing."""
        held = {self._path(digest) for digest in {*own, *self._in_use()}}
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        excess = sum(stat.st_size for _, stat in entries) + sum(self._reserved.values())
        excess += room - self._quota
        free = [(path, stat) for path, stat in entries if path not in held]
        missing = max(0, excess - sum(stat.st_size for _, stat in free))
        freed = 0
        for path, stat in free if not (room and missing) else ():
            if freed >= excess:
                break
            path.unlink(missing_ok=True)
            freed += stat.st_size
            logger.info("removed %s (%d bytes) from the cache", path.name[:12], stat.st_size)
        return freed, missing

    def _path(self, digest: str) -> Path:
        return self._root / blob_key(digest)

    def _entries(self, *, partial: bool = False) -> list[tuple[Path, os.stat_result]]:
        """Blobs, or what of them is half fetched."""
        folder = self._path("sha256:x").parent
        entries = []
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name.startswith(".") is not partial:
                    continue
                try:
                    entries.append((path, path.stat()))
                except FileNotFoundError:
                    continue
        return entries


def _check(goes_on: Callable[[], bool]) -> None:
    if not goes_on():
        raise StoppedError


def _parse(path: Path, assignment: Assignment) -> ArtifactManifest:
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ManifestError(
            f"the manifest {assignment.manifest_digest} of {assignment.model_version} is larger "
            f"than {_MAX_MANIFEST_BYTES} bytes"
        )
    try:
        manifest = parse_manifest(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(
            f"the manifest {assignment.manifest_digest} of {assignment.model_version} cannot be "
            f"used ({where}: {first['msg']}); is the worker image older than the trainer's?"
        ) from error
    if (manifest.file.digest, manifest.format) != (assignment.digest, assignment.format):
        raise ManifestError(
            f"the manifest {assignment.manifest_digest} of {assignment.model_version} describes "
            f"another file ({manifest.format}, {manifest.file.digest})"
        )
    return manifest
