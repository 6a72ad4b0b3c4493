"""Debian's slim base images: pulled where a registry answers, else made from Debian's packages.

Also installs buildah and mmdebstrap with apt where this machine is root's own Debian or Ubuntu.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from . import process
from .engines import Engine
from .errors import ImageError

_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()

# Merges /usr first, as Debian's own images do; without it bookworm brings all of perl for it.
_MERGE_HOOK = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
# What Debian's own slim images leave out too.
_LEFT_OUT = ("doc", "man", "locale", "info", "lintian", "groff", "linda")
_PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def base_tag(suite: str) -> str:
    """The reference that Dockerfiles start from."""
    return f"docker.io/library/debian:{suite}-slim"


def ensure(engine: Engine, suite: str, log: Path, line: Callable[[str], None]) -> None:
    """Makes sure that the engine has Debian `suite`'s slim image; side-by-side callers share one.

    Raises ImageError where it can be neither pulled nor made.
    """
    with _locks_guard:
        lock = _locks.setdefault(suite, threading.Lock())
    with lock:
        tag = base_tag(suite)
        if engine.stored(tag):
            return
        line(f"pulling {tag}")
        if engine.pull(tag, log):
            return
        line(f"no registry answers: making {tag} from Debian's packages")
        if not shutil.which("mmdebstrap") and not install("mmdebstrap"):
            raise ImageError(
                f"The base image {tag} can be neither pulled nor made: no registry answers, and "
                "mmdebstrap is missing (apt-get install mmdebstrap debian-archive-keyring)"
            )
        with tempfile.TemporaryDirectory(prefix="modelyard-base-") as folder:
            tarball = Path(folder) / f"{suite}.tar"
            process.stream(bootstrap_command(suite, tarball), f"making {tag}", log)
            engine.import_base(tarball, tag, log)


def bootstrap_command(suite: str, tarball: Path) -> list[str]:
    """mmdebstrap's command line. ca-certificates, so that https works before any apt step."""
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        *([f"--hook-dir={_MERGE_HOOK}"] if _MERGE_HOOK.is_dir() else []),
        "--include=ca-certificates",
        '--aptopt=Acquire::Languages "none"',
        *excluded,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=force-unsafe-io",
        suite,
        str(tarball),
    ]


def install(program: str) -> bool:
    """Installs a program's package with apt; False where this is not root on Debian or Ubuntu."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    packages = [_PACKAGES[program], "debian-archive-keyring"]
    command = [*apt, "install", "--no-install-recommends", *packages]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    # A fresh machine has no package lists yet; an old one has lists that name gone files.
    return process.succeeds([*environment, *command], timeout=300) or (
        process.succeeds([*environment, *apt, "update"], timeout=300)
        and process.succeeds([*environment, *command], timeout=600)
    )
