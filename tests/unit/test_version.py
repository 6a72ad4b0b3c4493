"""The version has two homes: the distribution, and the package, which images copy alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import modelyard

ROOT = Path(__file__).parents[2]


def test_both_say_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert modelyard.__version__ == project["version"]


def test_what_runs_in_images_does_not_ask_for_metadata() -> None:
    """Only the command line is always installed as a distribution."""
    package = Path(modelyard.__file__).parent
    asking = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "importlib.metadata" in path.read_text()
    ]
    assert [path for path in asking if not path.startswith("cli/")] == []
