"""What makes a dataset invalid, and what a user reads then."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modelyard.contract import exitcodes
from modelyard.workloads.data.limits import Limits

Run = Callable[..., Any]
PVC = {"pvc": {"claimName": "data", "path": ""}}


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def truncate(path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:2000])


def draw(path: Path, kind: str) -> None:
    """An image with its label, of a format whatever its name says."""
    Image.effect_noise((64, 64), 50).convert("RGB").save(path, kind)
    write(path.parents[2] / "labels" / path.parent.name / f"{path.stem}.txt", "")


BREAK: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing label": (
        lambda d: (d / "labels/train/0.txt").unlink(),
        "images/train/0.png: its label file labels/train/0.txt is missing",
    ),
    "class id": (
        lambda d: write(d / "labels/val/1.txt", "2 0.5 0.5 0.1 0.1"),
        "labels/val/1.txt: line 1: class id 2 is out of range: the data file has 2 classes",
    ),
    "polygon": (
        lambda d: write(d / "labels/val/1.txt", "0 .1 .1 .2 .1 .2 .2 .1 .2"),
        "labels/val/1.txt: line 1: has 9 columns, as polygons",
    ),
    "corrupt image": (
        lambda d: write(d / "images/train/3.png", "not an image"),
        "images/train/3.png: is not an image that can be decoded",
    ),
    "truncated image": (
        lambda d: truncate(d / "images/train/3.png"),
        "images/train/3.png: is a corrupt image",
    ),
    "tiny image": (
        lambda d: Image.new("RGB", (64, 5)).save(d / "images/train/3.png"),
        "images/train/3.png: is 64x5 pixels; each side must have at least 10",
    ),
    "GIF named .jpg": (
        lambda d: draw(d / "images/train/9.jpg", "GIF"),
        "images/train/9.jpg: is a GIF image by its content",
    ),
    "PPM named .png": (
        lambda d: draw(d / "images/train/9.png", "PPM"),
        "images/train/9.png: is a PPM image by its content",
    ),
    # Pillow reads it, the trainer's and the server's OpenCV do not.
    "AVIF": (
        lambda d: draw(d / "images/train/9.avif", "AVIF"),
        "images/train/9.avif: is a AVIF image by its content",
    ),
    "one channel": (
        lambda d: write(d / "data.yaml", (d / "data.yaml").read_text() + "\nchannels: 1\n"),
        "data.yaml: has channels: 1; models are trained and served on RGB images",
    ),
    "leakage": (
        lambda d: shutil.copy(d / "images/train/2.png", d / "images/val/0.png"),
        "images/val/0.png: in split val is the same image as images/train/2.png in split train",
    ),
    "missing split": (
        lambda d: shutil.rmtree(d / "images/val"),
        "images/val: the val split is missing",
    ),
    "label link": (
        lambda d: (
            (d / "labels/val/1.txt").unlink(),
            (d / "labels/val/1.txt").symlink_to("/etc/passwd"),
        ),
        "labels/val/1.txt: is a link that leads outside the dataset",
    ),
    "data file": (
        lambda d: write(d / "data.yaml", "names: [cat\n"),
        "data.yaml: is not YAML",
    ),
    "no data file": (
        lambda d: (d / "data.yaml").rename(d / "coco.yaml"),
        "data.yaml: not found; the source holds coco.yaml, images, labels",
    ),
    "path": (
        lambda d: write(d / "data.yaml", "names: [a]\ntrain: a\nval: b\npath: /etc"),
        "data.yaml: path '/etc' leads outside the dataset",
    ),
}


@pytest.mark.parametrize(("break_it", "says"), BREAK.values(), ids=BREAK.keys())
def test_an_invalid_dataset_is_a_result_that_names_the_file(
    break_it: Callable[[Path], Any], says: str, run_data: Run, dataset: Path
) -> None:
    break_it(dataset)
    ended = run_data(PVC)
    assert ended.code == exitcodes.OK
    result = ended.data
    assert (result.valid, result.digest) == (False, None)
    assert result.problem_count >= 1
    assert says in result.problems[0]
    assert says in ended.outcome.message
    blobs = dataset.parent / "store" / "blobs"
    assert not blobs.exists()


def test_a_test_split_that_is_not_there_is_left_out(run_data: Run, dataset: Path) -> None:
    """As exports of Roboflow name it, whether or not there are images for it."""
    without = run_data(PVC).data
    text = (dataset / "data.yaml").read_text()
    write(dataset / "data.yaml", text + "\ntest: ../test/images\n")
    ended = run_data(PVC)
    assert ended.data.valid
    assert ended.data.digest == without.digest
    assert [one.name for one in ended.data.splits] == ["train", "val"]
    assert "names a test split that is not there" in ended.log


def test_half_a_test_split_is_not_left_out(run_data: Run, dataset: Path) -> None:
    text = (dataset / "data.yaml").read_text()
    (dataset / "images/test").mkdir()
    draw(dataset / "images/test/1.png", "PNG")
    write(dataset / "data.yaml", text + "\ntest: [images/test, images/more]\n")
    assert run_data(PVC).data.problems == [
        "images/more: the test split is missing: there is no such folder or list"
    ]


@pytest.mark.parametrize(("kind", "suffix"), [("WEBP", "webp"), ("TIFF", "tif"), ("MPO", "jpg")])
def test_other_formats_that_are_trained_on(
    kind: str, suffix: str, run_data: Run, dataset: Path
) -> None:
    draw(dataset / f"images/train/9.{suffix}", kind)
    result = run_data(PVC).data
    assert result.valid, result.problems
    assert result.images == 9


def test_all_problems_are_counted_and_the_first_listed(run_data: Run, dataset: Path) -> None:
    for path in (dataset / "labels").rglob("*.txt"):
        write(path, "7 0.5 0.5 0.1 0.1\n" * 3)
    result = run_data(PVC).data
    assert result.problem_count == 24
    assert len(result.problems) == 10
    assert result.problems[0].startswith("labels/train/0.txt: line 1: ")
    assert result.problems[9].startswith("labels/train/3.txt: line 1: ")
    assert result.images == 8


def test_a_missing_label_may_be_background(run_data: Run, dataset: Path) -> None:
    with_empty = run_data(PVC).data
    (dataset / "labels/train/2.txt").unlink()
    without = run_data(PVC, quality={"missingLabels": "Background"}).data
    assert without.valid
    # Ultralytics takes both for a background, so both are the same version.
    assert without.digest == with_empty.digest


def test_the_fewest_images_of_a_split(run_data: Run) -> None:
    assert run_data(PVC, quality={"minImagesPerSplit": 2}).data.valid
    result = run_data(PVC, quality={"minImagesPerSplit": 3}).data
    assert result.problems == [
        "data.yaml: the val split has 2 images; spec.quality.minImagesPerSplit is 3"
    ]


def test_duplicate_lines_are_left_out(run_data: Run, dataset: Path) -> None:
    before = run_data(PVC).data
    label = dataset / "labels/train/0.txt"
    write(label, label.read_text() * 3)
    ended = run_data(PVC)
    assert ended.data.digest == before.digest
    assert "2 duplicate label lines are left out" in ended.log


def test_another_data_file(run_data: Run, dataset: Path) -> None:
    (dataset / "yaml").mkdir()
    text = (dataset / "data.yaml").read_text().replace("images/", "../images/")
    write(dataset / "yaml/animals.yml", text)
    assert run_data(PVC, data_file="yaml/animals.yml").data.valid


def test_a_changed_label_is_another_version(run_data: Run, dataset: Path) -> None:
    before = run_data(PVC).data
    write(dataset / "labels/train/0.txt", "1 0.5 0.5 0.2 0.2\n")
    assert run_data(PVC).data.digest != before.digest


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (("../evil.txt", b"x"), "member '../evil.txt' leads outside"),
        (("/etc/evil", b"x"), "member '/etc/evil' has an absolute path"),
    ],
)
def test_an_archive_that_escapes(
    member: tuple[str, bytes], says: str, run_data: Run, site: Any, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(*member)
    site.files["/evil.zip"] = buffer.getvalue()
    ended = run_data({"http": {"url": f"{site.url}/evil.zip"}})
    assert ended.code == exitcodes.OK
    assert not ended.data.valid
    assert says in ended.data.problems[0]
    assert not list(tmp_path.rglob("evil*"))


def test_a_zip_bomb(run_data: Run, site: Any) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/train/bomb.png", bytes(32 << 20))
    site.files["/bomb.zip"] = buffer.getvalue()
    source = {"http": {"url": f"{site.url}/bomb.zip"}}
    ended = run_data(source, limits=Limits(ratio_floor=8 << 20))
    assert not ended.data.valid
    assert "member 'images/train/bomb.png'" in ended.data.problems[0]
    assert "zip bomb" in ended.data.problems[0]
