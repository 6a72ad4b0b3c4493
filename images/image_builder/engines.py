"""The programs that can build images: Docker, Podman, buildah, behind one small interface.

Users have one of them; buildah is what works without a daemon, as in CI. Bases where no registry
can be reached: bases.py.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import process
from .errors import ImageError

Line = Callable[[str], None]


@dataclass(frozen=True)
class Stored:
    """An image in a builder's store."""

    digest: str
    """Digest of the configuration, `sha256:…`."""
    size: int
    """Bytes of the unpacked layers."""
    user: str
    """`USER` of the configuration."""


class Engine(Protocol):
    """What a build needs from a builder."""

    name: str

    def works(self) -> bool:
        """True if builds can be made with it here."""

    def stored(self, tag: str) -> Stored | None:
        """The image called `tag`, if it is in the store."""

    def pull(self, tag: str, log: Path) -> bool:
        """Fetches `tag` from its registry; False where that cannot be reached."""

    def import_base(self, tarball: Path, tag: str, log: Path) -> None:
        """Makes a root file system into the image `tag`."""

    def build(
        self,
        tag: str,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
        line: Line,
    ) -> None:
        """Builds `tag` from the Dockerfile in `context`; `line` gets each line of output."""

    def save(self, tag: str, archive: Path, log: Path) -> None:
        """Writes an archive that `ctr images import` takes."""


def _build_flags(arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str]:
    flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return flags + [f"--secret=id={name},src={path}" for name, path in secrets.items()]


class Docker:
    """The Docker engine with BuildKit; also speaks for Podman, whose commands are the same."""

    name = "docker"
    _env: Mapping[str, str] = {"DOCKER_BUILDKIT": "1"}
    _build_extra: tuple[str, ...] = ("--progress=plain",)
    _save_extra: tuple[str, ...] = ()

    def works(self) -> bool:
        """The client is there and its engine answers."""
        return process.succeeds([self.name, "info"])

    def stored(self, tag: str) -> Stored | None:
        """Inspects the image."""
        if not process.succeeds([self.name, "image", "inspect", tag]):
            return None
        found = json.loads(process.output([self.name, "image", "inspect", tag]))[0]
        digest = "sha256:" + found["Id"].removeprefix("sha256:")
        return Stored(digest, int(found["Size"]), found["Config"].get("User") or "")

    def pull(self, tag: str, log: Path) -> bool:
        """`docker pull`, for at most two minutes."""
        return process.succeeds([self.name, "pull", "--quiet", tag], timeout=120)

    def import_base(self, tarball: Path, tag: str, log: Path) -> None:
        """`docker import`."""
        command = [self.name, "import", "--change", 'CMD ["bash"]', str(tarball), tag]
        process.stream(command, f"importing the base image {tag}", log)

    def build(
        self,
        tag: str,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
        line: Line,
    ) -> None:
        """`docker build`; its cache keeps the layers."""
        command = [self.name, "build", *self._build_extra, *_build_flags(arguments, secrets)]
        command += ["--tag", tag, str(context)]
        process.stream(command, f"building {tag}", log, line, self._env)

    def save(self, tag: str, archive: Path, log: Path) -> None:
        """`docker save`."""
        command = [self.name, "save", *self._save_extra, "--output", str(archive), tag]
        process.stream(command, f"archiving {tag}", log)


class Podman(Docker):
    """Podman; chroot isolation, as a build needs none and some machines refuse more."""

    name = "podman"
    _env: Mapping[str, str] = {}
    _build_extra = ("--layers", "--isolation=chroot", "--network=host")
    _save_extra = ("--format=oci-archive",)


class Buildah:
    """Debian's buildah: no daemon, and chroot isolation asks for few privileges."""

    name = "buildah"

    def __init__(self) -> None:
        self._env = {"BUILDAH_ISOLATION": "chroot"}
        if "STORAGE_DRIVER" not in os.environ and os.geteuid() == 0:
            # Without a storage.conf buildah falls back to vfs, which copies every layer whole.
            self._env["STORAGE_DRIVER"] = "overlay"

    def works(self) -> bool:
        """Its store can be opened."""
        if shutil.which("buildah") is None:
            return False
        try:
            process.output(["buildah", "info"], self._env)
        except ImageError:
            if self._env.pop("STORAGE_DRIVER", None) is None:
                return False
            return self.works()
        return True

    def stored(self, tag: str) -> Stored | None:
        """Inspects the image."""
        try:
            text = process.output(["buildah", "inspect", "--type", "image", tag], self._env)
            rows = json.loads(process.output(["buildah", "images", "--json"], self._env))
        except ImageError:
            return None
        found = json.loads(text)
        digest = found["FromImageID"]
        sizes = [row.get("size", "0 B") for row in rows if digest.startswith(row["id"])]
        user = found["OCIv1"].get("config", {}).get("User", "")
        return Stored(f"sha256:{digest}", _bytes(sizes[0]) if sizes else 0, user)

    def pull(self, tag: str, log: Path) -> bool:
        """`buildah pull`, for at most two minutes."""
        pull = ["env", *(f"{k}={v}" for k, v in self._env.items()), "buildah", "pull", "--quiet"]
        return process.succeeds([*pull, tag], timeout=120)

    def import_base(self, tarball: Path, tag: str, log: Path) -> None:
        """An empty container, the files, a commit: buildah has no import."""
        what = f"importing the base image {tag}"
        container = process.output(["buildah", "from", "scratch"], self._env)
        try:
            for command in (
                ["buildah", "add", "--quiet", container, str(tarball), "/"],
                ["buildah", "config", "--cmd", "bash", "--env", f"PATH={_PATH}", container],
                ["buildah", "commit", "--quiet", container, tag],
            ):
                process.stream(command, what, log, env=self._env)
        finally:
            process.output(["buildah", "rm", container], self._env)

    def build(
        self,
        tag: str,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
        line: Line,
    ) -> None:
        """`buildah bud --layers`; chroot isolation shares the host's network anyway."""
        command = ["buildah", "bud", "--layers", "--network=host"]
        command += _build_flags(arguments, secrets)
        command += ["--tag", tag, str(context)]
        process.stream(command, f"building {tag}", log, line, self._env)

    def save(self, tag: str, archive: Path, log: Path) -> None:
        """An OCI archive; zstd's fastest level: less to write and to import than plain layers."""
        command = ["buildah", "push", "--quiet", "--compression-format=zstd"]
        command += ["--compression-level=1", tag, f"oci-archive:{archive}:{tag}"]
        process.stream(command, f"archiving {tag}", log, env=self._env)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def _bytes(text: str) -> int:
    """Bytes from buildah's `1.51 GB`."""
    number, unit = text.split()
    return int(float(number) * _UNITS[unit.upper()])


ENGINES: dict[str, Callable[[], Engine]] = {"docker": Docker, "podman": Podman, "buildah": Buildah}


def detect(wanted: str | None = None, install: Callable[[], bool] = lambda: False) -> Engine:
    """The builder called `wanted`, or the first that works; `install` may bring buildah.

    Raises ImageError where none works.
    """
    if wanted is not None and wanted not in ENGINES:
        raise ImageError(f"There is no image builder '{wanted}'; choose from {', '.join(ENGINES)}")
    candidates = [ENGINES[wanted]()] if wanted else [make() for make in ENGINES.values()]
    for engine in candidates:
        if engine.works():
            return engine
    if wanted in (None, "buildah") and install():
        buildah = Buildah()
        if buildah.works():
            return buildah
    tried = f"{wanted} does" if wanted else "Docker, Podman and buildah do"
    raise ImageError(
        f"{tried} not work here; start Docker or Podman, or install buildah "
        "(as root on Debian or Ubuntu it is installed for you)"
    )
