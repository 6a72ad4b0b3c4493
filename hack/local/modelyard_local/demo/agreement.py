"""Compares predicted boxes with the labels of the pictures."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

IOU = 0.5


@dataclass(frozen=True)
class Scene:
    """A labelled picture of the validation split."""

    name: str
    data: bytes
    """Encoded picture."""
    boxes: np.ndarray
    """(N, 4) float, xyxy in pixels."""
    classes: np.ndarray
    """(N,) int."""


def validation_scenes(archive: Path, count: int) -> list[Scene]:
    """The first scenes of the val split of a YOLO archive, in the order of their names."""
    scenes = []
    with zipfile.ZipFile(archive) as opened:
        names = [n for n in sorted(opened.namelist()) if "images/val/" in n and not n.endswith("/")]
        for name in names[:count]:
            data = opened.read(name)
            label = name.replace("images/val/", "labels/val/").rsplit(".", 1)[0] + ".txt"
            rows = [line.split() for line in opened.read(label).decode().splitlines() if line]
            width, height = Image.open(io.BytesIO(data)).size
            boxes, classes = _pixels(rows, width, height)
            scenes.append(Scene(Path(name).name, data, boxes, classes))
    return scenes


def _pixels(rows: list[list[str]], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """YOLO rows (class, centre x, centre y, width, height; from 0 to 1) as boxes in pixels."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    centre, size = table[:, 1:3], table[:, 3:5]
    scale = np.array([width, height, width, height])
    boxes = np.hstack([centre - size / 2, centre + size / 2]) * scale
    return boxes, table[:, 0].astype(int)


def matched(
    scene: Scene, boxes: np.ndarray, classes: np.ndarray, threshold: float = IOU
) -> tuple[int, int]:
    """(labels found, labels): a label is found by a box of its class with IoU >= threshold; each
    box finds at most one label."""
    free = list(range(len(boxes)))
    found = 0
    for label, kind in zip(scene.boxes, scene.classes, strict=True):
        best = max(
            (i for i in free if int(classes[i]) == kind),
            key=lambda i: iou(label, boxes[i]),
            default=None,
        )
        if best is not None and iou(label, boxes[best]) >= threshold:
            free.remove(best)
            found += 1
    return found, len(scene.boxes)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two xyxy boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    inner = float(np.prod(np.clip(high - low, 0, None)))
    area = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return inner / (area - inner) if area > inner else 0.0
