"""Dataset YAML: what is understood, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.workloads.data.datafile import find_root, read_data_file
from modelyard.workloads.data.errors import DatasetError

GOOD = "names: [cat, dog]\ntrain: images/train\nval: images/val\n"


def read(folder: Path, text: str | bytes, name: str = "data.yaml") -> object:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_data_file(folder.resolve(), name)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names: {1: dog, 0: cat}", ("cat", "dog")),
        ("names: {'0': cat, '1': dog}\nnc: 2", ("cat", "dog")),
        ("names: [0, 1, yes]", ("0", "1", "True")),
        ("nc: 2", ("class_0", "class_1")),
    ],
)
def test_class_names(text: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    data = read(tmp_path, f"{text}\ntrain: a\nval: b\n")
    assert data.classes == classes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "splits"),
    [
        ("train: a\nval: b", {"train": ("a",), "val": ("b",)}),
        ("train: [a, c.txt]\nvalidation: b", {"train": ("a", "c.txt"), "val": ("b",)}),
        ("train: a\nval: b\ntest:", {"train": ("a",), "val": ("b",)}),
        ("train: a\nval: b\ntest: c", {"train": ("a",), "val": ("b",), "test": ("c",)}),
    ],
)
def test_splits(text: str, splits: dict, tmp_path: Path) -> None:
    data = read(tmp_path, f"names: [cat]\n{text}\n")
    assert data.splits == splits  # type: ignore[attr-defined]


@pytest.mark.parametrize("channels", ["1", "4", "'3'"])
def test_other_channels_than_three_are_refused(channels: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"channels: .*3 channels"):
        read(tmp_path, f"{GOOD}channels: {channels}\n")


def test_three_channels_may_be_named(tmp_path: Path) -> None:
    read(tmp_path, f"{GOOD}channels: 3\n")


def test_download_is_ignored(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    read(tmp_path, f"{GOOD}download: |\n  open({str(marker)!r}, 'w')\n")
    assert not marker.exists()


@pytest.mark.parametrize("value", ["", ".", "sub"])
def test_path_within_the_dataset(value: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    data = read(tmp_path, f"{GOOD}path: {value}\n")
    assert data.base == (tmp_path / value).resolve()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "path: /etc\n", "path '/etc' leads outside the dataset"),
        (GOOD + "path: ../other\n", "leads outside the dataset"),
        (GOOD + "path: coco8\n", "path 'coco8' is not a folder beside the data file"),
        (GOOD + "path: [a]\n", "path must be text"),
        ("names: [cat\n", "is not YAML"),
        ("just text", "is not a mapping"),
        ("", "is not a mapping"),
        (b"names: [\xff]", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("train: a\nval: b", "names is missing"),
        ("names: []\ntrain: a\nval: b", "not empty"),
        ("names: cat\ntrain: a\nval: b", "names must be a list or a mapping"),
        ("names: {0: cat, 2: dog}\ntrain: a\nval: b", "class ids 0 to 1"),
        ("names: {a: cat}\ntrain: a\nval: b", "not a class id"),
        ("names: [cat, ]\nnc: 2\ntrain: a\nval: b", "nc is 2, but names has 1"),
        ("names: [[cat]]\ntrain: a\nval: b", "the name of class 0 is not text"),
        ("nc: many\ntrain: a\nval: b", "nc 'many' is not a number"),
        ("nc: 99999999999\ntrain: a\nval: b", "more than 100000 classes"),
        ("names: [cat]\nval: b", "train is missing"),
        ("names: [cat]\ntrain: a", "val is missing"),
        ("names: [cat]\ntrain: {a: b}\nval: b", "train must be a folder"),
        ("names: [cat]\ntrain: [1]\nval: b", "train must be a folder"),
        (GOOD + "kpt_shape: [17, 3]\n", "pose dataset"),
    ],
)
def test_what_is_wrong_is_said(text: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith("data.yaml: ")
    assert says in caught.value.message


def test_a_data_file_that_links_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(GOOD)
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "data.yaml").symlink_to("../secret.yaml")
    with pytest.raises(DatasetError, match="leads outside"):
        read_data_file(folder.resolve(), "data.yaml")


def test_an_archive_with_one_folder(tmp_path: Path) -> None:
    (tmp_path / "digits" / "sub").mkdir(parents=True)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "digits" / "data.yaml").write_text(GOOD)
    assert find_root(tmp_path, "data.yaml") == tmp_path / "digits"
    (tmp_path / "data.yaml").write_text(GOOD)
    assert find_root(tmp_path, "data.yaml") == tmp_path


def test_a_missing_data_file_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"data\.yaml: not found; the source holds nothing"):
        find_root(tmp_path, "data.yaml")
    for name in ("coco.yaml", "images"):
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r"holds coco\.yaml, images: set spec\.dataFile"):
        find_root(tmp_path, "data.yaml")
