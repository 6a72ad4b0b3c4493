"""The pipeline's first step: an encoded image becomes the network's input tensor.

Runs inside Triton's Python backend, with guard.py, orientation.py and size.py beside it: it may
import numpy and OpenCV, nothing else of ours.

The image is decoded, turned as its EXIF orientation says (orientation.py) and letterboxed as
Ultralytics does for `predict(rect=False)`, with OpenCV's own bilinear scaling, so that boxes agree
to the pixel.

IMAGE   BYTES [1]        JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
images  FP32|FP16 [1, 3, height, width]   RGB, 0 to 1
frame   INT64 [1, 7]     height and width of the image in pixels, after turning; when the request
                         came in, in nanoseconds of CLOCK_MONOTONIC; token of its copy in the
                         spool, or 0; the rest is `guard.seal`'s
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import random
import re
import time
from typing import Any

try:
    from modelyard.serving.models.preprocess import size
except ModuleNotFoundError:  # inside Triton
    import size  # type: ignore[import-not-found, no-redef]

MAX_PIXELS = size.MAX_PIXELS
# OpenCV reads it when it is imported. What a header says is checked before (size.py), against less.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

try:
    from modelyard.serving.models.preprocess import orientation
except ModuleNotFoundError:  # inside Triton
    import orientation  # type: ignore[import-not-found, no-redef]

try:
    import guard
    import triton_python_backend_utils as pb_utils
except ModuleNotFoundError:  # outside Triton, where only the functions below are of use
    from modelyard.serving.models import guard

    pb_utils = None

SPOOL = os.environ.get("MODELYARD_SPOOL", "/spool")
"""Folder that is shared with the agent."""
CONTROL = "control.json"
LOOK_SECONDS = 1.0
"""How often the control file is looked at."""
CONTROL_SECONDS = 60.0
"""A control file that its writer has not touched for so long says nothing: nobody would read."""

PADDING = 114
"""Grey value of the border, as in training."""

_DATA_URI = re.compile(rb"^data:image/[a-z.+-]+;base64,")
_SPACE = re.compile(rb"\s+")


class ImageError(ValueError):
    """The request holds no image that can be used; the message says why."""


def image_format(data: bytes) -> str | None:
    """Name of an accepted image format by its first bytes; None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The image as uint8 [height, width, 3] in BGR. Raises ImageError, for one of more than
    `max_pixels` before it takes any memory."""
    if not data:
        raise ImageError("IMAGE is empty: send one JPEG, PNG, WebP or BMP file")
    name = image_format(data)
    if name is None:
        data = _from_base64(data)
        name = image_format(data)
    if name is None:
        start = data[:8].hex(" ")
        raise ImageError(
            f"IMAGE ({len(data)} bytes that start with {start}) is not a JPEG, PNG, WebP or BMP "
            "file, nor base64 text of one"
        )
    measured = size.image_size(data)
    if measured is not None and measured[0] * measured[1] > max_pixels:
        raise ImageError(
            f"IMAGE is a {name} file of {measured[0]}x{measured[1]} pixels, more than the "
            f"{max_pixels / 1e6:.1f} megapixels that fit into this server's memory: send a smaller "
            "image, or raise spec.server.resources.memory"
        )
    try:
        # Without a size in its header, nothing says how much memory it would take.
        image: np.ndarray | None = orientation.decode(data) if measured else None
    except cv2.error as error:
        if "pixels" in str(error).lower():
            raise ImageError(
                f"IMAGE is a {name} file of more than {MAX_PIXELS // 1_000_000} megapixels"
            ) from None
        image = None
    if image is None:
        raise ImageError(
            f"IMAGE starts like a {name} file ({len(data)} bytes) but cannot be decoded: it is "
            "damaged or cut off"
        )
    return image


def _from_base64(data: bytes) -> bytes:
    text = _SPACE.sub(b"", _DATA_URI.sub(b"", data))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return data


def letterbox(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image scaled to fit, centred on grey; uint8 [height, width, 3]."""
    rows, columns = image.shape[:2]
    gain = min(height / rows, width / columns)
    new_rows, new_columns = max(round(rows * gain), 1), max(round(columns * gain), 1)
    if (new_rows, new_columns) != (rows, columns):
        image = cv2.resize(image, (new_columns, new_rows), interpolation=cv2.INTER_LINEAR)
    # An odd border has its extra pixel below and to the right.
    top, left = round((height - new_rows) / 2 - 0.1), round((width - new_columns) / 2 - 0.1)
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[top : top + new_rows, left : left + new_columns] = image
    return canvas


def to_tensor(image: np.ndarray, dtype: type) -> np.ndarray:
    """BGR uint8 [height, width, 3] to RGB 0 to 1 [1, 3, height, width]."""
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(reversed(cv2.split(image))):
        np.divide(plane, np.float32(255), out=tensor[0, channel])
    return tensor.astype(dtype, copy=False)


class Sampler:
    """Copies a share of the images into the spool, for the agent.

    The agent asks for it by a control file in the model line's folder (`serving/spool.py` has the
    format); without it nothing is copied. The file names the generation whose requests are meant,
    so that the agent's own requests to another one are not copied. An image lies there as
    TOKEN.image; the last step adds TOKEN.answer. Whatever goes wrong here is counted as a dropped
    copy and never fails a request.
    """

    def __init__(self, folder: str, generation: str) -> None:
        self._folder = folder
        self._generation = generation
        self._share = 0.0
        self._files = self._bytes = 0
        self._next_look = 0.0

    def sample(self, image: bytes) -> int:
        """Token of the image's copy; 0 if none was made."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        if not self._share or random.random() >= self._share:  # noqa: S311
            return 0
        token = random.getrandbits(62) | 1
        try:
            if not self._fits(len(image)):
                raise OSError("full")
            path = os.path.join(self._folder, f"{token:016x}.image")
            with open(path + ".part", "wb") as file:
                file.write(image)
            os.rename(path + ".part", path)
        except OSError:
            self._count_drop()
            return 0
        return token

    def _look(self) -> None:
        try:
            path = os.path.join(self._folder, CONTROL)
            if time.time() - os.stat(path).st_mtime > CONTROL_SECONDS:
                raise ValueError("left behind")
            with open(path, "rb") as file:
                control = json.load(file)
            self._files, self._bytes = int(control["files"]), int(control["bytes"])
            mine = control["generation"] == self._generation
            self._share = float(control["share"]) if mine else 0.0
        except (OSError, ValueError, KeyError, TypeError):
            self._share = 0.0

    def _fits(self, size: int) -> bool:
        files = used = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if ".image" in entry.name:
                    files, used = files + 1, used + entry.stat().st_size
        return files < self._files and used + size <= self._bytes

    def _count_drop(self) -> None:
        """The file's size is the number of drops: an append of one byte needs no lock between
        processes."""
        try:
            with open(os.path.join(self._folder, "dropped"), "ab") as file:
                file.write(b".")
        except OSError:
            self._share = 0.0  # not even that fits, or the folder is gone


class Count:
    """A counter on Triton's metrics page, there from the beginning: PromQL takes what is not there
    for no answer, not for 0, and misses the first count of what has just come.

    For what happens seldom: each count is a round trip to the server's process, about 0.2 ms.
    """

    def __init__(self, name: str, description: str, labels: dict[str, str]) -> None:
        # Kept: its counters end with it.
        self._family: Any = pb_utils.MetricFamily(
            name=name, description=description, kind=pb_utils.MetricFamily.COUNTER
        )
        self._counter: Any = self._family.Metric(labels=labels)

    def add(self) -> None:
        """Counts one."""
        self._counter.increment(1)

    def stop(self) -> None:
        """Gives the counter back while the server still listens: at the end of the process it
        would crash it."""
        self._counter = self._family = None


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters: model line, version, height, width, dtype."""
        config = json.loads(args["model_config"])
        parameters = config["parameters"]
        line = parameters["model"]["string_value"]
        generation = args["model_name"].removesuffix("-preprocess")
        self.sampler = Sampler(os.path.join(SPOOL, line), generation)
        key = guard.read_key()
        models = os.path.dirname(args["model_repository"].rstrip("/"))
        self.guard = guard.Guard(key, line, generation, models)
        self.key = guard.frame_key(key, generation)
        labels = {"model": line, "version": parameters["version"]["string_value"]}
        # A counter with the same labels as another process's would end with it.
        labels["source"] = args["model_instance_name"]
        # Triton counts both as answered by this step, and as failures of the whole pipeline.
        self.rejected = Count("modelyard_rejected_total", "Images that are none", labels)
        self.failed = Count("modelyard_failures_total", "Images without an answer", labels)
        self.refused = Count(guard.REFUSED, guard.REFUSED_TEXT, labels)
        self.height = int(parameters["height"]["string_value"])
        self.width = int(parameters["width"]["string_value"])
        decoders = sum(int(group.get("count", 1)) for group in config.get("instance_group", ()))
        self.max_pixels = size.max_pixels(size.memory_bytes(), decoders)
        half = parameters["dtype"]["string_value"] == "FP16"
        self.dtype = np.float16 if half else np.float32
        # Requests run side by side in several processes; threads within one would compete.
        cv2.setNumThreads(1)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself: one bad image fails no other."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.rejected.stop()
        self.failed.stop()
        self.refused.stop()

    def _answer(self, request: Any) -> Any:
        try:
            return self._prepare(request)
        except ImageError as error:
            self.rejected.add()
            # The client's fault: HTTP 400, gRPC INVALID_ARGUMENT.
            failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        except guard.RefusedError as error:
            self.refused.add()
            failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            self.failed.add()
            failure = pb_utils.TritonError(f"{type(error).__name__}: {error}")
        return pb_utils.InferenceResponse(error=failure)

    def _prepare(self, request: Any) -> Any:
        started = time.monotonic_ns()
        self.guard.check(request.parameters())
        tensor = pb_utils.get_input_tensor_by_name(request, "IMAGE")
        data = bytes(tensor.as_numpy().reshape(-1)[0])
        image = decode(data, self.max_pixels)
        tensor = to_tensor(letterbox(image, self.height, self.width), self.dtype)
        token = self.sampler.sample(data)
        frame = guard.seal(self.key, *image.shape[:2], started, token)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("images", tensor), pb_utils.Tensor("frame", frame)]
        )
