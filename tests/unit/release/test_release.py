"""What a release refuses, and what its files say. `make release` itself is tried by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import ALL_KINDS

ROOT = Path(__file__).parents[3]
RELEASE = ROOT / "hack/release"
sys.path.insert(0, str(RELEASE))
try:
    import chart
    import notes
    import sbom
    import tree
finally:
    sys.path.remove(str(RELEASE))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean checkout of version 0.2.0, with what says the version."""
    (tmp_path / "operator/modelyard").mkdir(parents=True)
    (tmp_path / "charts/modelyard").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "modelyard"\nversion = "0.2.0"\n')
    (tmp_path / "operator/modelyard/__init__.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "charts/modelyard/Chart.yaml").write_text("version: 0.2.0\nappVersion: 0.2.0\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change")


def test_a_clean_tree_of_that_version_is_released(checkout: Path) -> None:
    tree.check(checkout, "0.2.0")


@pytest.mark.parametrize("version", ["0.2", "v0.2.0", "0.2.0+local", "latest", ""])
def test_what_is_no_version_is_refused(checkout: Path, version: str) -> None:
    with pytest.raises(tree.ReleaseError, match="is no version"):
        tree.check(checkout, version)


def test_a_tree_with_changes_is_refused(checkout: Path) -> None:
    (checkout / "new.txt").write_text("not committed")
    with pytest.raises(tree.ReleaseError, match=r"not committed:\n.*new\.txt"):
        tree.check(checkout, "0.2.0")


def test_a_version_is_released_once(checkout: Path) -> None:
    git(checkout, "tag", "v0.2.0")
    with pytest.raises(tree.ReleaseError, match=r"tag v0\.2\.0 exists"):
        tree.check(checkout, "0.2.0")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[project]\nname = "modelyard"\nversion = "0.1.0"\n'),
        ("operator/modelyard/__init__.py", '__version__ = "0.1.0"\n'),
        ("charts/modelyard/Chart.yaml", "version: 0.2.0\nappVersion: 0.1.0\n"),
        ("hack/local/pyproject.toml", '[project]\nname = "modelyard-local"\nversion = "0.1.0"\n'),
    ],
)
def test_every_place_must_say_the_version(checkout: Path, file: str, text: str) -> None:
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text(text)
    commit(checkout)
    with pytest.raises(tree.ReleaseError, match=rf"{file}.* says 0\.1\.0: set it to 0\.2\.0"):
        tree.check(checkout, "0.2.0")


def test_this_tree_says_one_version() -> None:
    assert len({found for _, found in tree.versions(ROOT)}) == 1


CHANGELOG = """\
# Changelog

## [Unreleased]
### Added
- later

## [0.2.0] - 2026-12-01
### Fixed
- something

## [0.1.0] - soon
- first

[0.2.0]: https://example.com
"""


def test_notes_are_the_versions_section() -> None:
    assert notes.of_version(CHANGELOG, "0.2.0") == "# Modelyard 0.2.0\n\n### Fixed\n- something\n"


@pytest.mark.parametrize(
    ("version", "says"), [("0.3.0", "has no line"), ("0.1.0", "not YYYY-MM-DD")]
)
def test_a_version_without_notes_is_refused(version: str, says: str) -> None:
    with pytest.raises(tree.ReleaseError, match=says):
        notes.of_version(CHANGELOG, version)


def test_the_chart_names_the_releases_images(tmp_path: Path) -> None:
    made = []
    for folder in (tmp_path / "first", tmp_path / "again"):
        folder.mkdir()
        source = ROOT / "charts/modelyard"
        made.append(chart.package(source, folder, "9.9.9", "registry.example/my", 1_700_000_000))
    assert made[0].read_bytes() == made[1].read_bytes()
    with tarfile.open(made[0]) as archive:
        names = archive.getnames()
        values: Any = yaml.safe_load(archive.extractfile("modelyard/values.yaml"))  # type: ignore[arg-type]
    assert {"modelyard/Chart.yaml", "modelyard/templates/operator.yaml"} <= set(names)
    assert {f"modelyard/files/crds/{info.crd_name}.yaml" for info in ALL_KINDS} <= set(names)
    images = {key: image for key, image in values["images"].items() if ":" in str(image)}
    assert len(images) >= 5
    assert all(image.startswith("registry.example/my/") for image in images.values())
    assert not any(image.endswith(":dev") for image in images.values())
    assert images["tensorrt"] == "registry.example/my/trainer-gpu:9.9.9"


def test_the_bill_of_materials_names_every_pinned_package() -> None:
    bill = json.loads(sbom.render(ROOT, "9.9.9", 1_700_000_000))
    components = {one["bom-ref"]: one for one in bill["components"]}
    depends = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(depends["modelyard"]) == {ref for ref in components if ref.startswith("image:")}
    operator = [components[ref]["name"] for ref in depends["image:operator"]]
    pinned = sbom.packages((ROOT / "images/operator/requirements.txt").read_text())
    assert len(operator) == len(pinned)
    assert "kopf" in operator
    assert "ultralytics-opencv-headless" not in operator, "AGPL: in trainer images only"
    trainer = [components[ref]["name"] for ref in depends["image:trainer"]]
    assert "ultralytics-opencv-headless" in trainer
    assert sbom.render(ROOT, "9.9.9", 1_700_000_000) == json.dumps(bill, indent=1) + "\n"
