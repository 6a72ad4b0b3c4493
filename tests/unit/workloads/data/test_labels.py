"""Label lines: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.workloads.data.check import read_labels
from modelyard.workloads.data.publish import label_text


def of(tmp_path: Path, text: str | bytes, classes: int = 3) -> tuple[list, list[str]]:
    path = tmp_path / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path, classes)


def test_boxes(tmp_path: Path) -> None:
    boxes, problems = of(tmp_path, "\ufeff0 0.5 0.5 1 1\r\n\n 2.0\t.25 0.25 1e-1 0.2 \n")
    assert boxes == [(0, 0.5, 0.5, 1, 1), (2, 0.25, 0.25, 0.1, 0.2)]
    assert problems == []


def test_an_empty_file_is_a_background(tmp_path: Path) -> None:
    assert of(tmp_path, "\n  \n") == ([], [])


def test_rounding_beyond_the_edge_is_taken(tmp_path: Path) -> None:
    assert of(tmp_path, "0 1.0000001 0.5 0.5 0.5")[1] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "3 0.5 0.5 0.1 0.1",
            "class id 3 is out of range: the data file has 3 classes, ids 0 to 2",
        ),
        ("-1 0.5 0.5 0.1 0.1", "class id -1 is out of range"),
        ("1.5 0.5 0.5 0.1 0.1", "class id 1.5 is not a whole number"),
        ("0 1.5 0.5 0.1 0.1", "coordinate 1.5 is not within 0 to 1"),
        ("0 0.5 -0.5 0.1 0.1", "coordinate -0.5 is not within 0 to 1"),
        ("0 64 64 20 20", "coordinate 64 is not within 0 to 1"),
        ("0 0.5 0.5 0 0.1", "the box is empty"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 1e999 0.5 0.1 0.1", "not finite"),
        ("cat 0.5 0.5 0.1 0.1", "is not 5 numbers"),
        ("0 0.5 0.5 0.1", "has 4 columns instead of 5"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 columns instead of 5"),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "has 9 columns, as polygons or keypoints have"),
    ],
)
def test_what_is_wrong_is_said(line: str, says: str, tmp_path: Path) -> None:
    boxes, problems = of(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert len(boxes) == 1
    assert len(problems) == 1
    assert problems[0].startswith("line 2: ")
    assert says in problems[0]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    assert "cannot be read as text" in of(tmp_path, b"\xff\xfe0\0")[1][0]


def test_a_hopeless_file_does_not_flood(tmp_path: Path) -> None:
    assert len(of(tmp_path, "x\n" * 10_000)[1]) == 101


def test_equal_labels_are_equal_bytes(tmp_path: Path) -> None:
    boxes, _ = of(tmp_path, "1 0.50 .5 1.0 1e-7\n")
    assert label_text(tuple(boxes)) == b"1 0.5 0.5 1 1e-07\n"
    path = tmp_path / "again.txt"
    path.write_bytes(label_text(tuple(boxes)))
    assert read_labels(path, 3) == (boxes, [])
