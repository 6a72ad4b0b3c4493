"""Which images a split has, by which names, and where their labels are."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.workloads.data.datafile import DataFile
from modelyard.workloads.data.layout import label_path, samples
from modelyard.workloads.data.problems import Problems


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "images" / "dataset"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def of(root: Path, *entries: str, base: str = "") -> tuple[list[tuple[str, str]], list[str]]:
    """Names and label files of the train split, and its problems."""
    data = DataFile(root, root / base, ("cat",), {"train": entries})
    problems = Problems()
    found = samples(data, "train", problems)
    return [(one.name, str(one.label.relative_to(root))) for one in found], problems.first


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.jpg", "train/labels/a.b.txt"),
        ("images/x/images/a.png", "images/x/labels/a.txt"),
        ("pictures/a.jpg", "pictures/a.txt"),
        ("myimages/a.jpg", "myimages/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_labels_lie_where_ultralytics_looks(image: str, label: str, root: Path) -> None:
    # The folder `images` above the dataset does not count.
    assert label_path(root, root / image) == root / label


def test_a_folder_with_subfolders(root: Path) -> None:
    touch(root, "images/train/b/2.PNG", "images/train/a/1.jpg", "images/train/notes.txt")
    touch(root, "images/train/.hidden.jpg", "images/train/.cache/x.jpg", "images/val/3.jpg")
    found, problems = of(root, "images/train")
    assert found == [("a/1.jpg", "labels/train/a/1.txt"), ("b/2.PNG", "labels/train/b/2.txt")]
    assert problems == []


def test_folders_named_images_do_not_move_published_labels(root: Path) -> None:
    touch(root, "x/images/1.jpg", "y/images/1.jpg")
    found, _ = of(root, "x", "y/images")
    assert [name for name, _ in found] == ["x/images_/1.jpg", "y/images_/1.jpg"]


def test_an_image_listed_twice_counts_once(root: Path) -> None:
    touch(root, "train/1.jpg")
    assert len(of(root, "train", "train")[0]) == 1


def test_a_list_of_images(root: Path) -> None:
    touch(root, "images/1.jpg", "images/2.jpg", "lists/images/3.jpg", "lists/images/1.jpg")
    (root / "lists/train.txt").write_text("images/1.jpg\n\n./images/3.jpg\r\nimages/2.jpg\n")
    found, problems = of(root, "lists/train.txt")
    assert [label for _, label in found] == ["labels/1.txt", "labels/2.txt", "lists/labels/3.txt"]
    assert problems == []


def test_a_list_names_what_is_wrong(root: Path) -> None:
    touch(root, "1.jpg", "1.mp4")
    (root / "train.txt").write_text("1.jpg\n2.jpg\n../../../x.jpg\n/etc/x.jpg\n1.mp4\n")
    found, problems = of(root, "train.txt")
    assert len(found) == 1
    assert problems == [
        "train.txt: line 2: image '2.jpg' is missing",
        "train.txt: line 3: '../../../x.jpg' leads outside the dataset",
        "train.txt: line 4: '/etc/x.jpg' leads outside the dataset",
        "train.txt: line 5: '1.mp4' is not an image that YOLO reads",
    ]


def test_the_dots_of_roboflow(root: Path) -> None:
    touch(root, "train/images/1.jpg")
    assert len(of(root, "../train/images")[0]) == 1


@pytest.mark.parametrize("entry", ["../../other", "/etc", "link"])
def test_a_split_outside(entry: str, root: Path) -> None:
    touch(root, "1.jpg")
    (root / "link").symlink_to("/etc")
    found, problems = of(root, entry)
    assert found == []
    assert problems == [f"{entry}: the train split leads outside the dataset"]


def test_a_split_that_is_not_there(root: Path) -> None:
    touch(root, "1.jpg")
    assert "there is no such folder" in of(root, "images/train")[1][0]
    assert "neither a folder nor a .txt list" in of(root, "1.jpg")[1][0]


def test_links_within_a_split(root: Path) -> None:
    touch(root, "all/1.jpg", "train/2.jpg")
    (root / "train/inside.jpg").symlink_to("../all/1.jpg")
    (root / "train/outside.jpg").symlink_to("/etc/passwd")
    found, problems = of(root, "train")
    assert [name for name, _ in found] == ["2.jpg", "inside.jpg"]
    assert problems == ["train/outside.jpg: is a link that leads outside the dataset"]


def test_names_that_clash_or_cannot_be_published(root: Path) -> None:
    touch(root, "a/images/1.jpg", "a/images_/1.jpg", "a/new\nline.jpg")
    (root / "a" / "raw\udcff.jpg").touch()
    found, problems = of(root, "a")
    assert len(found) == 1
    assert any("same name as" in problem for problem in problems)
    assert sum("name that is not UTF-8" in problem for problem in problems) == 2
