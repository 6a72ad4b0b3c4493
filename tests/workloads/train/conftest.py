"""A tiny dataset in a directory store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..workload_runner import WorkloadRunner

SIZE = 64
TRAIN, VAL = 48, 16


def draw(path: Path, rng: np.random.Generator) -> str:
    """One scene with a bright square or a dark disk; returns its label."""
    image = rng.normal(128, 10, (SIZE, SIZE))
    kind, half = int(rng.integers(2)), int(rng.integers(8, 16))
    x, y = rng.integers(half, SIZE - half, 2)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    if kind == 0:
        image[y - half : y + half, x - half : x + half] = 250
    else:
        image[(rows - y) ** 2 + (columns - x) ** 2 < half**2] = 5
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).convert("RGB").save(path)
    return f"{kind} {x / SIZE} {y / SIZE} {2 * half / SIZE} {2 * half / SIZE}\n"


class Shapes(WorkloadRunner):
    """A runner with the dataset of `draw`."""

    def training(self, key: str, **run: Any) -> dict[str, Any]:
        """A train run of a few short epochs."""
        hyperparameters = {
            "epochs": 4, "imgsz": SIZE, "batch": 4, "nbs": 4, "warmup_epochs": 0,
            "close_mosaic": 0, "mosaic": 0, "optimizer": "AdamW", "lr0": 0.002,
        } | run.pop("hyperparameters", {})  # fmt: skip
        return {
            "kind": "train", "runKey": key, "datasetDigest": self.dataset,
            "hyperparameters": hyperparameters, **({"model": "yolo11n.yaml"} | run),
        }  # fmt: skip


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    pytest.importorskip(
        "ultralytics",
        reason="runs where Ultralytics is: in the trainer image",
        exc_type=ImportError,
    )
    runner = Shapes(tmp_path_factory.mktemp("runner"))
    rng = np.random.default_rng(7)
    source = runner.folder / "source"
    for split, count in (("train", TRAIN), ("val", VAL)):
        for kind in ("images", "labels"):
            (source / kind / split).mkdir(parents=True)
        for number in range(count):
            label = draw(source / "images" / split / f"{number:03}.png", rng)
            (source / "labels" / split / f"{number:03}.txt").write_text(label)
    (source / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [square, disk]\n"
    )
    runner.publish()
    return runner
