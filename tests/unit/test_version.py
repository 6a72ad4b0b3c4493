"""The version is written in three places: both distributions, and the package, which images copy
without the metadata of its distribution."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import modelyard

ROOT = Path(__file__).parents[2]


def _project(path: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / path).read_text())["project"]
    return project


def test_all_places_say_the_same() -> None:
    local = _project("hack/local/pyproject.toml")
    assert _project("pyproject.toml")["version"] == modelyard.__version__
    assert local["version"] == modelyard.__version__
    assert f"modelyard[cli]=={modelyard.__version__}" in local["dependencies"]


def test_what_runs_in_images_does_not_ask_for_metadata() -> None:
    """Only the command line is always installed as a distribution."""
    package = Path(modelyard.__file__).parent
    asking = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "importlib.metadata" in path.read_text()
    ]
    assert [path for path in asking if not path.startswith("cli/")] == []
