"""The Dockerfiles keep the promises that images/README.md makes."""

import re
import tomllib
from pathlib import Path

import pytest
from image_builder.catalog import IMAGES, ROOT, Image, Lock
from image_builder.pipeline import USER
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile*"))
LOCKS = [(image, lock) for image in IMAGES.values() for lock in image.locks]


def _instructions(path: Path) -> list[str]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_image_runs_as_root(path: Path) -> None:
    users = [line for line in _instructions(path) if line.startswith("USER ")]
    assert users[-1:] == [f"USER {USER}"]


@pytest.mark.parametrize("image", IMAGES.values(), ids=lambda image: image.name)
def test_the_bases_are_the_ones_that_the_builder_provides(image: Image) -> None:
    found = re.findall(r"^FROM docker\.io/library/debian:(\w+)-slim", _text(image), re.MULTILINE)
    assert set(found) == set(image.bases)


@pytest.mark.parametrize("image", IMAGES.values(), ids=lambda image: image.name)
def test_all_that_is_copied_is_in_the_context(image: Image) -> None:
    for line in _instructions(image.dockerfile):
        if not line.startswith("COPY ") or "--from=" in line:
            continue
        for source in line.split()[1:-1]:
            assert any(
                source == entry or source.startswith(f"{entry}/")
                for entry in (*image.include, *image.tools)
            ), f"{source} is not staged"


def test_the_python_images_share_their_first_layers() -> None:
    first = [_instructions(IMAGES[name].dockerfile)[:2] for name in ("operator", "worker")]
    assert first[0] == first[1]


def test_the_operator_brings_neither_torch_nor_ultralytics() -> None:
    pins = _pins(ROOT / "images/operator/requirements.txt")
    assert not [name for name in pins if "torch" in name or "ultralytics" in name]


@pytest.mark.parametrize(("image", "lock"), LOCKS, ids=lambda value: getattr(value, "name", ""))
def test_the_pins_fit_pyproject(image: Image, lock: Lock) -> None:
    folder = ROOT / "images" / image.name
    provided = set()
    if lock.provided:
        lines = (folder / lock.provided).read_text().splitlines()
        provided = {line for line in lines if not line.startswith("#")}
    pins = _pins(folder / lock.requirements)
    for wanted in _wanted(lock):
        name = canonicalize_name(wanted.name)
        if name in provided:
            assert name not in pins, f"{name} comes from Debian and from PyPI"
        else:
            assert name in pins, f"{wanted} is not pinned: run python images/lock.py {image.name}"
            assert wanted.specifier.contains(pins[name]), f"{wanted}, but {pins[name]} is pinned"


def _text(image: Image) -> str:
    return image.dockerfile.read_text()


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(";")[0].strip().split("==") for line in lines)


def _wanted(lock: Lock) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    todo = list(lock.extras)
    while todo:
        for text in project["optional-dependencies"][todo.pop()]:
            requirement = Requirement(text)
            if requirement.name == "modelyard":
                todo += requirement.extras
            else:
                found.append(requirement)
    return found


def test_all_parts_decode_images_with_one_release_line_of_opencv() -> None:
    """The dataset check, training and evaluation, both servers, and these tests."""
    name = "opencv-python-headless"
    named = [
        _pins(ROOT / "images" / path)[name]
        for path in (
            "worker/requirements.txt", "trainer/requirements.txt", "trainer/requirements-gpu.txt"
        )
    ]  # fmt: skip
    named += re.findall(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(set(named)) == 1
    assert len(named) == 4
    ranges = [
        re.findall(rf"{name}(>=[^\s\"]+)", (ROOT / path).read_text())
        for path in ("images/triton/requirements.txt", "images/triton/Dockerfile.nvidia")
    ]
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = [one for one in map(Requirement, data["data"]) if one.name == name]
    for (one,) in ranges:
        assert Requirement(f"{name}{one}").specifier == wanted.specifier
    assert wanted.specifier.contains(named[0])
    assert not wanted.specifier.contains("4.12.0"), "a line is a minor release"
