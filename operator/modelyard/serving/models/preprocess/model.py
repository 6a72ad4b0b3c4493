"""The first of three steps: an encoded image becomes the network's input tensor.

IMAGE   BYTES [1]        JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
images  FP32|FP16 [1, 3, height, width]   RGB, 0 to 1
frame   INT64 [1, 7]     height and width of the image in pixels, after turning; when the request
                         came in, in nanoseconds of CLOCK_MONOTONIC; token of its copy in the
                         spool, or 0; the rest is `guard.seal`'s
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from modelyard.serving.models import copies, drawing, guard, size
from modelyard.serving.models.decode import ImageError, decode
from modelyard.serving.models.letterbox import letterbox, to_tensor
from modelyard.serving.models.metrics import Count


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters: model line, version, height, width, dtype."""
        config = json.loads(args["model_config"])
        parameters = config["parameters"]
        line = parameters["model"]["string_value"]
        generation = args["model_name"].removesuffix("-preprocess")
        self.sampler = copies.Sampler(os.path.join(copies.SPOOL, line), generation)
        key = guard.read_key()
        models = os.path.dirname(args["model_repository"].rstrip("/"))
        self.guard = guard.Guard(key, line, generation, models)
        self.drawing = drawing.Drawing(line, generation, self.guard)
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
        self.drawing.stop()

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
        parameters = request.parameters()
        self.guard.check(parameters)
        tensor = pb_utils.get_input_tensor_by_name(request, "IMAGE")
        data = bytes(tensor.as_numpy().reshape(-1)[0])
        image = decode(data, self.max_pixels)
        tensor = to_tensor(letterbox(image, self.height, self.width), self.dtype)
        height, width = image.shape[:2]
        token = self.drawing.draw(self.sampler.sample(data), data, (height, width), parameters)
        frame = guard.seal(self.key, height, width, started, token)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("images", tensor), pb_utils.Tensor("frame", frame)]
        )
