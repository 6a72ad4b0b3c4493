"""Wheels of all distributions of this repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tree


def build(root: Path, target: Path) -> None:
    """One wheel for each pyproject.toml into `target`. Build tools come from the package index."""
    for project in tree.projects(root):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--wheel-dir", str(target)]
        subprocess.run([*command, str(project.parent)], check=True)
