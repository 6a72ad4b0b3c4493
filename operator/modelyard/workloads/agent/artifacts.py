"""The cache of artifacts and manifests: fetched by digest, verified at every use.

    <root>/blobs/sha256/<64 digits>   model files and manifests

The least recently used ones go when the quota is reached, never those in use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelyard.api.modelserver import Assignment
from modelyard.contract.manifest import ArtifactManifest, parse_manifest
from modelyard.contract.paths import blob_key
from modelyard.store import Store, sha256_file

logger = logging.getLogger(__name__)


class ManifestError(ValueError):
    """The manifest cannot be used for this assignment."""


@dataclass(frozen=True)
class Fetched:
    """An artifact on disk."""

    manifest: ArtifactManifest
    model_file: Path
    downloaded: int
    """Bytes that came from the store; 0 if everything was cached."""


class ArtifactCache:
    """Blocking calls; run them in a thread."""

    def __init__(self, root: Path, store: Store, quota: int) -> None:
        """`quota` is in bytes. It yields to what is in use: that is never removed."""
        self._root = root
        self._store = store
        self._quota = quota

    def fetch(self, assignment: Assignment, keep: Collection[str]) -> Fetched:
        """The assignment's manifest and model file. `keep` are digests that must stay.

        Raises StoreError, ManifestError, OSError if the disk is full.
        """
        keep = {*keep, assignment.digest, assignment.manifest_digest}
        path, downloaded = self._blob(assignment.manifest_digest)
        manifest = _parse(path, assignment)
        if not self._path(assignment.digest).exists():
            self.evict(keep, room=manifest.file.size_bytes)
        model_file, size = self._blob(assignment.digest)
        return Fetched(manifest, model_file, downloaded + size)

    def evict(self, keep: Collection[str], room: int = 0) -> int:
        """Removes what was used longest ago until `room` bytes fit; returns the bytes freed."""
        held = {self._path(digest) for digest in keep}
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        total = sum(stat.st_size for _, stat in entries) + room
        freed = 0
        for path, stat in entries:
            if total - freed <= self._quota:
                break
            if path in held:
                continue
            path.unlink(missing_ok=True)
            freed += stat.st_size
            logger.info("removed %s (%d bytes) from the cache", path.name[:12], stat.st_size)
        return freed

    def size(self) -> int:
        """Bytes in the cache."""
        return sum(stat.st_size for _, stat in self._entries())

    def _blob(self, digest: str) -> tuple[Path, int]:
        path = self._path(digest)
        if path.exists():
            if sha256_file(path) == digest:
                os.utime(path)
                return path, 0
            logger.warning("%s in the cache is damaged, fetching it again", path)
            path.unlink(missing_ok=True)
        self._store.get_file(digest, path)
        return path, path.stat().st_size

    def _path(self, digest: str) -> Path:
        return self._root / blob_key(digest)

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        folder = self._path("sha256:x").parent
        entries = []
        if folder.is_dir():
            for path in folder.iterdir():
                # A fetch of a process that died leaves .partial files: they are old, and go first.
                try:
                    entries.append((path, path.stat()))
                except FileNotFoundError:
                    continue
        return entries


def _parse(path: Path, assignment: Assignment) -> ArtifactManifest:
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
