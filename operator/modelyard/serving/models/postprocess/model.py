"""The last of three steps: the network's output becomes boxes in pixels of the image sent.

raw      FP32|FP16 [1, 4 + classes, candidates]  centre x, y, width, height, a score per class
                or [1, boxes, 6]                 x1, y1, x2, y2, confidence, class: final boxes
frame    INT64 [1, 7]   height and width of the image; when the request came in, in nanoseconds of
                        CLOCK_MONOTONIC; token of its copy in the spool, or 0; signed by the first
                        step (`guard.seal`), and only good for one answer
embedding       FP32 [1, size]   the network's embedding; only if the artifact has one
boxes    FP32 [N, 4]    x1, y1, x2, y2 in pixels of the image
scores   FP32 [N]       confidence, highest first
classes  INT32 [N]      class ids
labels   BYTES [N]      class names
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from modelyard.serving.models import copies, drawing, guard
from modelyard.serving.models.boxes import label, relative_areas, select_final, select_raw
from modelyard.serving.models.letterbox import to_image
from modelyard.serving.models.metrics import Metrics


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters."""
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        self.network = (int(values["height"]), int(values["width"]))
        self.suppressed = json.loads(values["suppressed"])
        self.confidence, self.iou = float(values["confidence"]), float(values["iou"])
        self.limit = int(values["maxDetections"])
        self.labels = json.loads(values["classes"])
        self.version = int(values["version"])
        self.spool = os.path.join(copies.SPOOL, values["model"])
        self.answers = drawing.Answers(values["model"], suppressed=self.suppressed)
        self.embeds = any(one["name"] == "embedding" for one in config["input"])
        own = {"model": values["model"], "version": values["version"]}
        own["source"] = args["model_instance_name"]
        generation = args["model_name"].removesuffix("-postprocess")
        self.frames = guard.Frames(guard.frame_key(guard.read_key(), generation))
        self.metrics = Metrics(own, self.labels)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself, and counts what was found."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.metrics.stop()
        self.answers.stop()

    def _answer(self, request: Any) -> Any:
        try:
            return self._select(request)
        except guard.RefusedError as error:
            self.metrics.refuse()
            failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=failure)
        except Exception as error:
            self.metrics.fail()
            failure = pb_utils.TritonError(f"{type(error).__name__}: {error}")
            return pb_utils.InferenceResponse(error=failure)

    def _embedding(self, request: Any) -> Any:
        """The network's embedding of the image; None if the artifact has none."""
        if not self.embeds:
            return None
        return pb_utils.get_input_tensor_by_name(request, "embedding").as_numpy()

    def _select(self, request: Any) -> Any:
        passed = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()[0]
        height, width, started, token = self.frames.open(passed)
        frame = (height, width)
        raw = pb_utils.get_input_tensor_by_name(request, "raw").as_numpy()[0]
        raw = raw.astype(np.float32, copy=False)
        if self.suppressed:
            boxes, scores, classes = select_final(raw, self.confidence, self.limit)
        else:
            boxes, scores, classes = select_raw(raw, self.confidence, self.iou, self.limit)
        boxes = to_image(boxes, self.network, frame)
        spent = (time.monotonic_ns() - started) / 1e6
        self.metrics.observe(scores, classes, relative_areas(boxes, frame), spent)
        found = (boxes, scores, classes)
        if token & copies.COPIED:
            copies.write_answer(self.spool, token, self.version, spent, found)
        if token & copies.DRAWN:
            self.answers.write(token, self.version, spent, found, raw, self._embedding(request))
        names = np.array([label(self.labels, one) for one in classes], dtype=np.object_)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("boxes", np.ascontiguousarray(boxes, np.float32)),
                pb_utils.Tensor("scores", np.ascontiguousarray(scores, np.float32)),
                pb_utils.Tensor("classes", np.ascontiguousarray(classes, np.int32)),
                pb_utils.Tensor("labels", names),
            ]
        )
