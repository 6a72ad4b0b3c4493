"""The example's scenes are a valid dataset, and always the same one."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCRIPT = Path(__file__).parents[3] / "examples" / "digits" / "scenes.py"


def draw(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--out", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_scenes_are_a_valid_dataset(
    run_data: Callable[..., Any], site: Any, tmp_path: Path
) -> None:
    done = draw(tmp_path / "a.zip", "--train", "12", "--val", "5")
    assert done.returncode == 0, done.stderr
    site.files["/digits.zip"] = (tmp_path / "a.zip").read_bytes()
    result = run_data({"http": {"url": f"{site.url}/digits.zip"}}).data
    assert result.valid
    assert [(split.name, split.images) for split in result.splits] == [("train", 12), ("val", 5)]
    assert all(split.boxes >= split.images for split in result.splits)
    assert [one.name for one in result.classes][:3] == ["zero", "one", "two"]


def test_scenes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    sizes = ("--train", "3", "--val", "1")
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert draw(tmp_path / f"{name}.zip", *sizes, "--seed", seed).returncode == 0
    digests = [
        hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest() for name in "abc"
    ]
    assert digests[0] == digests[1] != digests[2]


def test_boxes_lie_on_ink(tmp_path: Path) -> None:
    draw(tmp_path / "a.zip", "--train", "8", "--val", "1")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for i in range(8):
            picture = Image.open(io.BytesIO(archive.read(f"images/train/{i:05}.jpg")))
            light = np.asarray(picture.convert("L"), dtype=float)
            for line in archive.read(f"labels/train/{i:05}.txt").decode().splitlines():
                x, y, w, h = (float(part) * 128 for part in line.split()[1:])
                inside = light[
                    round(y - h / 2) : round(y + h / 2), round(x - w / 2) : round(x + w / 2)
                ]
                assert inside.max() > light.min() + 80


def test_wrong_arguments(tmp_path: Path) -> None:
    done = draw(tmp_path / "a.zip", "--train", "0")
    assert done.returncode == 2
    assert "0 is less than 1" in done.stderr
    assert not (tmp_path / "a.zip").exists()
