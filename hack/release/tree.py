"""What a checkout must be to be released: clean, of that version, and not released yet."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
"""Semantic versions without build metadata, which tags of images cannot hold."""


class ReleaseError(Exception):
    """The release is refused; the message says what to do."""


def check(root: Path, version: str) -> None:
    """Raises ReleaseError for the first reason against a release."""
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version!r} is no version such as 0.2.0 or 0.2.0-rc.1")
    changed = git(root, "status", "--porcelain")
    if changed:
        raise ReleaseError(f"the tree has changes that are not committed:\n{changed}")
    if git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"tag v{version} exists: a version is released once")
    for file, found in versions(root):
        if found != version:
            raise ReleaseError(f"{file} says {found}: set it to {version} and commit")


def versions(root: Path) -> Iterator[tuple[str, str]]:
    """All places that say the version, with what they say."""
    for project in projects(root):
        data = tomllib.loads(project.read_text())["project"]
        yield str(project.relative_to(root)), data.get("version", "nothing")
    package = (root / "operator/modelyard/__init__.py").read_text()
    match = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    yield "operator/modelyard/__init__.py", match[1] if match else "nothing"
    chart = (root / "charts/modelyard/Chart.yaml").read_text()
    for key in ("version", "appVersion"):
        match = re.search(rf'^{key}: "?([^"\n]+)"?$', chart, re.MULTILINE)
        yield f"charts/modelyard/Chart.yaml, {key},", match[1] if match else "nothing"


def projects(root: Path) -> list[Path]:
    """The pyproject.toml of every distribution, known to git."""
    listed = git(root, "ls-files", "pyproject.toml", "*/pyproject.toml").splitlines()
    return [
        root / line
        for line in sorted(listed)
        if "project" in tomllib.loads((root / line).read_text())
    ]


def commit_time(root: Path) -> int:
    """Unix time of the commit."""
    return int(git(root, "log", "-1", "--format=%ct"))


def git(root: Path, *arguments: str) -> str:
    """What git prints. Raises CalledProcessError."""
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()
