"""Image archives (OCI layout or Docker's format): what they say of themselves, their folder.

Tags of archives are hashes of what went in (context.py): an archive that exists is never built
again.
"""

import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ImageError


@dataclass(frozen=True)
class Archived:
    """The image in an archive."""

    tags: tuple[str, ...]
    digest: str
    """Digest of the configuration, `sha256:…`."""
    user: str
    """`USER` of the configuration."""
    size: int
    """Bytes of the layers in the archive, compressed or not."""

    def named(self, tag: str) -> bool:
        """True if a runtime that imports the archive calls the image `tag`."""
        # Docker leaves its own registry's name out.
        return any(name in (tag, tag.removeprefix("docker.io/")) for name in self.tags)


def read(archive: Path) -> Archived:
    """Raises ImageError where the file is not a whole image archive."""
    try:
        with tarfile.open(archive) as tar:
            names = set(tar.getnames())
            if "index.json" in names:
                return _oci(tar)
            return _docker(tar)
    except (OSError, tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise ImageError(
            f"{archive} is not a whole image archive ({error}); delete it and build again"
        ) from error


def _json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    if member is None:
        raise KeyError(name)
    return json.load(member)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _oci(tar: tarfile.TarFile) -> Archived:
    index = _json(tar, "index.json")["manifests"]
    names = [entry.get("annotations", {}) for entry in index]
    tags = tuple(
        name.get("io.containerd.image.name") or name.get("org.opencontainers.image.ref.name", "")
        for name in names
    )
    manifest = _json(tar, _blob(index[0]["digest"]))
    size = sum(tar.getmember(_blob(layer["digest"])).size for layer in manifest["layers"])
    digest = manifest["config"]["digest"]
    user = _json(tar, _blob(digest)).get("config", {}).get("User", "")
    return Archived(tags, digest, user, size)


def _docker(tar: tarfile.TarFile) -> Archived:
    manifest = _json(tar, "manifest.json")[0]
    size = sum(tar.getmember(layer).size for layer in manifest["Layers"])
    config = manifest["Config"]
    digest = "sha256:" + Path(config).name.removesuffix(".json")
    user = _json(tar, config).get("config", {}).get("User", "")
    return Archived(tuple(manifest["RepoTags"] or ()), digest, user, size)


def path(folder: Path, name: str, tag: str) -> Path:
    """Where an image's archive lies: its content names it, so an existing one is up to date."""
    return folder / f"{name}-{tag.rpartition(':')[2]}.tar"


def partial_path(final: Path) -> Path:
    """Where this process writes an archive until it is whole."""
    return final.with_suffix(f".{os.getpid()}.partial")


def prune(folder: Path, name: str, keep: int = 2) -> None:
    """Removes what this builder left of image `name`: all but the newest archives, dead partials.

    A trainer's archive has half a gigabyte, and every edit makes one. Other files are left alone.
    """
    ours = re.compile(rf"{re.escape(name)}-[^-]+-[0-9a-f]{{10}}\.(?:tar|(\d+)\.partial)")
    found = [(match, entry) for entry in folder.iterdir() if (match := ours.fullmatch(entry.name))]
    whole = sorted(
        (entry for match, entry in found if not match[1]), key=lambda entry: entry.stat().st_mtime
    )
    dead = [entry for match, entry in found if match[1] and not Path(f"/proc/{match[1]}").exists()]
    for entry in [*whole[:-keep], *dead]:
        entry.unlink(missing_ok=True)
