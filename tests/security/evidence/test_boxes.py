"""Boxes from a process that has loaded a `.pt` file, against the judge's reader.

The file has no header, so there is nothing to exploit but its length and its values.
"""

from __future__ import annotations

import io
import json
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate import boxes
from modelyard.workloads.evaluate.boxes import DETECTION, Claim

IMAGES, CLASSES, EACH = 3, 2, 4
CLAIM = Claim(classes=["cat", "dog"], milliseconds=1.5)


def detections(*rows: tuple[Any, ...]) -> Any:
    return np.array(list(rows), dtype=DETECTION)


GOOD = (1, 0, 0.5, (0.1, 0.2, 0.3, 0.4))


def take(folder: Path) -> Any:
    return boxes.take(folder, "source", images=IMAGES, classes=CLASSES, per_image=EACH)


def test_what_is_left_is_taken(tmp_path: Path) -> None:
    left = detections(GOOD, (0, 1, 1, (-0.5, 0, 1.5, 1)))
    boxes.leave(tmp_path, "source", left, CLAIM)
    found, claim = take(tmp_path)
    assert (found == left).all()
    assert claim == CLAIM


def test_no_box_is_fine(tmp_path: Path) -> None:
    boxes.leave(tmp_path, "source", detections(), CLAIM)
    assert len(take(tmp_path)[0]) == 0


@pytest.mark.parametrize(
    "row",
    [
        (3, 0, 0.5, (0, 0, 1, 1)),
        (-1, 0, 0.5, (0, 0, 1, 1)),
        (0, 2, 0.5, (0, 0, 1, 1)),
        (0, -1, 0.5, (0, 0, 1, 1)),
        (0, 0, 1.5, (0, 0, 1, 1)),
        (0, 0, -0.1, (0, 0, 1, 1)),
        (0, 0, float("nan"), (0, 0, 1, 1)),
        (0, 0, 0.5, (0, 0, float("nan"), 1)),
        (0, 0, 0.5, (0, 0, float("inf"), 1)),
        (0, 0, 0.5, (0, -1e30, 1, 1)),
    ],
)
def test_values_outside_the_holdout_are_refused(tmp_path: Path, row: tuple[Any, ...]) -> None:
    boxes.leave(tmp_path, "source", detections(GOOD, row), CLAIM)
    with pytest.raises(UserError, match="cannot be judged") as caught:
        take(tmp_path)
    assert caught.value.reason == "InvalidDetections"


def test_more_boxes_than_count_are_refused(tmp_path: Path) -> None:
    boxes.leave(tmp_path, "source", detections(*[GOOD] * (EACH + 1)), CLAIM)
    with pytest.raises(UserError, match="more than 4 detections"):
        take(tmp_path)
    boxes.leave(tmp_path, "source", detections(*[GOOD] * (IMAGES * EACH + 1)), CLAIM)
    with pytest.raises(UserError, match="larger than"):
        take(tmp_path)


class Exploit:
    def __reduce__(self) -> Any:
        return (open, ("owned", "w"))


@pytest.mark.parametrize("kind", ["pickle", "npy"])
def test_a_pickle_is_bytes_and_nothing_else(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(Exploit())
    if kind == "npy":
        stream = io.BytesIO()
        np.save(stream, np.array([Exploit()], dtype=object), allow_pickle=True)
        content = stream.getvalue()
    boxes.leave(tmp_path, "source", detections(), CLAIM)
    padded = content + b"\0" * (-len(content) % DETECTION.itemsize)
    (tmp_path / "source.boxes").write_bytes(padded)
    with pytest.raises(UserError):
        take(tmp_path)
    (tmp_path / "source.boxes").write_bytes(padded[:-1])
    with pytest.raises(UserError):
        take(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "claim",
    [
        "",
        "null",
        "[" * 100_000,
        '{"classes": "cat", "milliseconds": 1}',
        '{"classes": ["cat"], "milliseconds": NaN}',
        '{"classes": ["cat"], "milliseconds": -1}',
        json.dumps({"classes": ["c"] * 100_001, "milliseconds": 1}),
    ],
    ids=["empty", "null", "deep", "text", "nan", "negative", "many"],
)
def test_a_claim_that_is_none_is_refused(tmp_path: Path, claim: str) -> None:
    boxes.leave(tmp_path, "source", detections(GOOD), CLAIM)
    (tmp_path / "source.json").write_text(claim)
    with pytest.raises(UserError) as caught:
        take(tmp_path)
    assert caught.value.reason == "InvalidDetections"


def test_a_link_to_the_judges_own_files_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "labels"
    secret.write_bytes(detections(GOOD).tobytes())
    boxes.leave(tmp_path, "source", detections(), CLAIM)
    (tmp_path / "source.boxes").unlink()
    (tmp_path / "source.boxes").symlink_to(secret)
    with pytest.raises(UserError) as caught:
        take(tmp_path)
    assert caught.value.reason == "UntrustedOutput"


def test_a_file_that_grows_while_it_is_read_ends(tmp_path: Path) -> None:
    boxes.leave(tmp_path, "source", detections(GOOD), CLAIM)
    with (tmp_path / "source.boxes").open("ab") as file:
        file.truncate(2**40)
    before = time.monotonic()
    with pytest.raises(UserError, match="larger than"):
        take(tmp_path)
    assert time.monotonic() - before < 1


@given(
    content=st.binary(max_size=IMAGES * EACH * DETECTION.itemsize + 40),
    claim=st.binary(max_size=200) | st.just(CLAIM.model_dump_json().encode()),
)
def test_any_bytes_are_boxes_within_bounds_or_refused(content: bytes, claim: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source.boxes").write_bytes(content)
        (folder / "source.json").write_bytes(claim)
        try:
            found, _ = take(folder)
        except UserError:
            return
        assert len(found) <= IMAGES * EACH
        assert np.isfinite(found["box"]).all()
