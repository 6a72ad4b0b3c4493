"""The first of three steps: an encoded image becomes the network's input tensor.

IMAGE   BYTES [N]        JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
images  FP32|FP16 [N, 3, height, width]   RGB, 0 to 1
frame   INT64 [N, 7]     height and width of the image in pixels, after turning, 0 for one without
                         an answer; when the request came in, in nanoseconds of CLOCK_MONOTONIC;
                         token of its copy in the spool, or 0; the rest is `guard.seal`'s
errors  BYTES [N]        why an image has no answer; empty if it has one
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from modelyard.serving.models import copies, drawing, guard, size, timing
from modelyard.serving.models.decode import ImageError, decode
from modelyard.serving.models.letterbox import Canvas
from modelyard.serving.models.metrics import Count
from modelyard.serving.models.responses import RequestError, check_count


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters: model line, version, height, width, dtype."""
        self.laps = timing.recorder(args["model_name"])
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
        height = int(parameters["height"]["string_value"])
        width = int(parameters["width"]["string_value"])
        decoders = sum(int(group.get("count", 1)) for group in config.get("instance_group", ()))
        self.max_pixels = size.max_pixels(size.memory_bytes(), decoders)
        half = parameters["dtype"]["string_value"] == "FP16"
        self.dtype = np.float16 if half else np.float32
        self.canvas = Canvas(height, width, self.dtype)
        self.max_images = int(parameters["maxImages"]["string_value"])
        # Requests run side by side in several processes; threads within one would compete.
        cv2.setNumThreads(1)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself: one bad image fails no other."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.laps.close()
        self.rejected.stop()
        self.failed.stop()
        self.refused.stop()
        self.drawing.stop()

    def _answer(self, request: Any) -> Any:
        try:
            return self._prepare(request)
        except (ImageError, guard.RefusedError, RequestError) as error:
            # The client's fault: HTTP 400, gRPC INVALID_ARGUMENT.
            failure = pb_utils.TritonError(self._count(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            failure = pb_utils.TritonError(self._count(error))
        return pb_utils.InferenceResponse(error=failure)

    def _count(self, error: Exception) -> str:
        """Counts what went wrong; what the client is told."""
        if isinstance(error, ImageError):
            self.rejected.add()
        elif isinstance(error, guard.RefusedError):
            self.refused.add()
        elif not isinstance(error, RequestError):
            self.failed.add()
            return f"{type(error).__name__}: {error}"
        return str(error)

    def _prepare(self, request: Any) -> Any:
        started = time.monotonic_ns()
        laps = self.laps.begin()
        parameters = request.parameters()
        self.guard.check(parameters)
        laps.lap("guard")
        images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
        check_count(len(images), self.max_images)
        tensor = np.zeros((len(images), 3, *self.canvas.tensor.shape[2:]), self.dtype)
        frames, errors = [], []
        for data, own in zip(images, tensor, strict=True):
            try:
                frame, error = self._draw(bytes(data), own, started, parameters, laps), ""
            except Exception as raised:
                if len(images) == 1:
                    raise
                frame = guard.seal(self.key, 0, 0, started, 0)
                error = self._count(raised)
            frames.append(frame)
            errors.append(error)
        tensors = [
            pb_utils.Tensor("images", tensor),
            pb_utils.Tensor("frame", np.concatenate(frames)),
            pb_utils.Tensor("errors", np.array(errors, np.object_)),
        ]
        laps.lap("copies")
        laps.end()
        return pb_utils.InferenceResponse(tensors)

    def _draw(
        self,
        data: bytes,
        tensor: np.ndarray,
        started: int,
        parameters: str,
        laps: timing.Recorder,
    ) -> np.ndarray:
        laps.lap("copies")
        image = decode(data, self.max_pixels)
        laps.lap("decode")
        self.canvas.draw(image)
        laps.lap("letterbox")
        tensor[:] = self.canvas.tensor[0]
        laps.lap("tensor")
        height, width = image.shape[:2]
        token = self.drawing.draw(self.sampler.sample(data), data, (height, width), parameters)
        return guard.seal(self.key, height, width, started, token)
