"""The chart as an archive, with the versions of the release's images in its values."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from tree import ReleaseError

IMAGE = re.compile(r"^(?P<key>  \w+: )modelyard/(?P<name>[\w-]+):dev$", re.MULTILINE)


def package(chart: Path, target: Path, version: str, registry: str, mtime: int) -> Path:
    """Write `modelyard-VERSION.tgz`, as `helm package` would; returns its path."""
    # The CRDs are behind a link: the archive has the files themselves.
    found = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(chart, followlinks=True)
        for name in names
        if name != ".helmignore"
    )
    files = {path.relative_to(chart): path.read_bytes() for path in found}
    values = Path("values.yaml")
    files[values] = with_images(files[values].decode(), version, registry, _tags(chart)).encode()
    path = target / f"modelyard-{version}.tgz"
    # The time of the commit, not of today, in both headers: equal trees give equal archives.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=mtime) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{chart.name}/{name.as_posix()}")
            entry.size, entry.mtime, entry.mode = len(content), mtime, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return path


def with_images(values: str, version: str, registry: str, tags: dict[str, str]) -> str:
    """The values with images of the release in place of the development ones.

    An image that this repository cannot build here gets the release's version as its tag.
    """

    def released(match: re.Match[str]) -> str:
        return f"{match['key']}{registry}/{match['name']}:{tags.get(match['name'], version)}"

    changed, count = IMAGE.subn(released, values)
    if not count or ":dev" in changed:
        raise ReleaseError("values.yaml has images in another form than modelyard/NAME:dev")
    return changed


def _tags(chart: Path) -> dict[str, str]:
    """Tags of the images by name: each is the version and a hash of what the image is made of."""
    command = [sys.executable, str(chart.parents[1] / "images/build.py"), "--list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = (line.split() for line in listed.splitlines())
    return {name: reference.rsplit(":", 1)[1] for name, reference, *_ in names}
