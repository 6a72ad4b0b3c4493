"""The last of three steps: the network's output becomes boxes in pixels of the image sent.

raw      FP32|FP16 [N, 4 + classes, candidates]  centre x, y, width, height, a score per class
                or [N, boxes, 6]                 x1, y1, x2, y2, confidence, class: final boxes
frame    INT64 [N, 7]   what the first step says of each image, and has signed (`guard.seal`); only
                        good for one answer
embedding   FP32 [N, size]   the network's embedding; only if the artifact has one
and the pipeline's outputs, which responses.py describes, but `errors`
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from modelyard.serving.models import copies, drawing, guard, responses, timing
from modelyard.serving.models.boxes import Selection, relative_areas
from modelyard.serving.models.letterbox import to_image
from modelyard.serving.models.metrics import Metrics


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters."""
        self.laps = timing.recorder(args["model_name"])
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        self.network = (int(values["height"]), int(values["width"]))
        self.selection = Selection.parse(values)
        self.labels = json.loads(values["classes"])
        self.version = int(values["version"])
        self.spool = os.path.join(copies.SPOOL, values["model"])
        self.answers = drawing.Answers(values["model"], suppressed=self.selection.suppressed)
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
        self.laps.close()
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
        """The network's embedding of each image; None if the artifact has none."""
        if not self.embeds:
            return None
        return pb_utils.get_input_tensor_by_name(request, "embedding").as_numpy()

    def _select(self, request: Any) -> Any:
        laps = self.laps.begin()
        frames = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()
        raw = pb_utils.get_input_tensor_by_name(request, "raw").as_numpy()
        if len(frames) != len(raw):
            raise guard.RefusedError(f"{len(frames)} frame rows for {len(raw)} of raw")
        seen = self._embedding(request)
        if seen is None:
            seen = [None] * len(raw)
        laps.lap("copies")
        found = [self._find(*one) for one in zip(raw, frames, seen, strict=True)]
        laps.lap("boxes")
        outputs = responses.outputs(found, self.labels)
        del outputs["errors"]
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(one)) for name, one in outputs.items()
        ]
        laps.lap("copies")
        laps.end()
        return pb_utils.InferenceResponse(tensors)

    def _find(
        self, raw: np.ndarray, signed: np.ndarray, embedding: np.ndarray | None
    ) -> responses.Found:
        height, width, started, token = self.frames.open(signed)
        if not height:  # the first step has said why
            return responses.failed("")
        raw = raw.astype(np.float32, copy=False)
        boxes, scores, classes = self.selection.of(raw)
        boxes = to_image(boxes, self.network, (height, width))
        spent = (time.monotonic_ns() - started) / 1e6
        self.metrics.observe(scores, classes, relative_areas(boxes, (height, width)), spent)
        found = (boxes, scores, classes)
        if token & copies.COPIED:
            copies.write_answer(self.spool, token, self.version, spent, found)
        if token & copies.DRAWN:
            self.answers.write(token, self.version, spent, found, raw, embedding)
        return responses.Found(boxes, scores, classes)
