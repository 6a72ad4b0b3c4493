"""The pipeline's first step: an encoded image becomes the network's input tensor.

Runs inside Triton's Python backend, alone: it may import numpy and OpenCV, nothing of ours.

The image is decoded, turned as its EXIF orientation says and letterboxed as Ultralytics does for
`predict(rect=False)`, with OpenCV's own bilinear scaling, so that boxes agree to the pixel.

IMAGE   BYTES [1]        JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
images  FP32|FP16 [1, 3, height, width]   RGB, 0 to 1
frame   INT32 [1, 2]     height and width of the image in pixels, after turning
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import Any

# OpenCV reads it when it is imported: a small file must not unpack to gigabytes.
MAX_PIXELS = 100_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

try:
    import triton_python_backend_utils as pb_utils
except ModuleNotFoundError:  # outside Triton, where only the functions below are of use
    pb_utils = None

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


def decode(data: bytes) -> np.ndarray:
    """The image as uint8 [height, width, 3] in BGR. Raises ImageError."""
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
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
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
    planes = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None])
    return (planes.astype(np.float32) / np.float32(255)).astype(dtype, copy=False)


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict) -> None:
        """Reads the model's parameters: height, width, dtype."""
        import json

        parameters = json.loads(args["model_config"])["parameters"]
        self.height = int(parameters["height"]["string_value"])
        self.width = int(parameters["width"]["string_value"])
        half = parameters["dtype"]["string_value"] == "FP16"
        self.dtype = np.float16 if half else np.float32
        # Requests run side by side in several processes; threads within one would compete.
        cv2.setNumThreads(1)

    def execute(self, requests: list) -> list:
        """Answers each request by itself: one bad image fails no other."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        data = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
        try:
            image = decode(bytes(data[0]))
        except ImageError as error:
            # The client's fault: HTTP 400, gRPC INVALID_ARGUMENT.
            failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=failure)
        tensor = to_tensor(letterbox(image, self.height, self.width), self.dtype)
        frame = np.array([image.shape[:2]], np.int32)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("images", tensor), pb_utils.Tensor("frame", frame)]
        )
