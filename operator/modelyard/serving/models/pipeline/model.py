"""The whole pipeline in one step, where ONNX Runtime for Python is at hand: no tensor crosses a
process.

IMAGE    BYTES [N]       JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
         its answer is described in responses.py
images   the network's input tensor, for its public name; its answer is the network's outputs, as
         raw0, raw1, …

Several processes answer a request each. The images of one request are computed by threads of one
process.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from modelyard.serving.models import copies, drawing, guard, responses, size, timing
from modelyard.serving.models.boxes import Selection, relative_areas
from modelyard.serving.models.decode import ImageError, decode
from modelyard.serving.models.letterbox import Canvas, to_image
from modelyard.serving.models.metrics import Metrics
from modelyard.serving.models.network import Busy, Lane, Network, NetworkError, Threads

MODEL_FILE = "model.onnx"
DTYPES = {"FP32": np.float32, "FP16": np.float16}


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters and opens the network."""
        self.laps = timing.recorder(args["model_name"])
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        line, generation = values["model"], args["model_name"].removesuffix("-pipeline")
        key = guard.read_key()
        models = os.path.dirname(args["model_repository"].rstrip("/"))
        self.guard = guard.Guard(key, line, generation, models)
        self.version = int(values["version"])
        self.spool = os.path.join(copies.SPOOL, line)
        self.sampler = copies.Sampler(self.spool, generation)
        self.drawing = drawing.Drawing(line, generation, self.guard)
        self.size = (int(values["height"]), int(values["width"]))
        self.selection = Selection.parse(values)
        self.answers = drawing.Answers(line, suppressed=self.selection.suppressed)
        self.labels = json.loads(values["classes"])
        self.embeds = json.loads(values["embeds"])
        self.max_images = int(values["maxImages"])
        self.max_batch = int(values["maxBatch"])
        self.dtype = DTYPES[values["dtype"]]
        self.outputs = [(DTYPES[kind], shape) for kind, shape in json.loads(values["shapes"])]
        # Requests run side by side in several threads; those of OpenCV would compete with them.
        cv2.setNumThreads(1)
        self._open(args, values)
        self._start(args, values)

    def _open(self, args: dict[str, str], values: dict[str, str]) -> None:
        folder = os.path.join(args["model_repository"], args["model_version"])
        threads = Threads(*json.loads(values["threads"]))
        try:
            self.network = Network(
                os.path.join(folder, MODEL_FILE),
                threads,
                values["input"],
                json.loads(values["outputs"]),
                public=int(values["public"]),
            )
        except NetworkError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        self.network.open_second(np.zeros((1, 3, *self.size), self.dtype))
        # NAME_GROUP_NUMBER
        number = int(args["model_instance_name"].rsplit("_", 1)[1])
        self.busy = Busy(args["model_name"], number, int(values["processes"]))

    def _start(self, args: dict[str, str], values: dict[str, str]) -> None:
        # A counter with the same labels as another process's would end with it.
        own = {"model": values["model"], "version": values["version"]}
        own["source"] = args["model_instance_name"]
        # Triton takes an error that a Python step answers for a success.
        shown = ("rejected_total", "failures_total", "refused_total")
        self.metrics = Metrics(own, self.labels, shown)
        threads = int(values["workers"])
        decoders = threads * int(values["processes"])
        self.max_pixels = size.max_pixels(size.memory_bytes(), decoders)
        self.lanes = threading.local()
        # Of these only requests with several images make use.
        self.pool = ThreadPoolExecutor(threads, "modelyard")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself."""
        with self.busy:
            return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.laps.close()
        self.pool.shutdown()
        self.network.close()
        self.busy.close()
        self.drawing.stop()
        self.answers.stop()
        self.metrics.stop()

    def _answer(self, request: Any) -> Any:
        started = time.monotonic_ns()
        laps = self.laps.begin()
        try:
            parameters = request.parameters()
            self.guard.check(parameters)
            laps.lap("guard")
            given = pb_utils.get_input_tensor_by_name(request, "IMAGE")
            tensor = pb_utils.get_input_tensor_by_name(request, "images")
            if (given is None) == (tensor is None):
                raise responses.RequestError("send either IMAGE or images")
            if given is None:
                return _response(self._compute(tensor))
            images = given.as_numpy().reshape(-1)
            responses.check_count(len(images), self.max_images)
            laps.lap("copies")
            if len(images) == 1:
                alone = not self.busy.others()
                found = [self._find(images[0], started, parameters, laps, alone=alone)]
            else:
                found = list(self.pool.map(lambda one: self._try(one, started, parameters), images))
            response = _response(responses.outputs(found, self.labels))
            laps.lap("copies")
            return response
        except Exception as error:
            return pb_utils.InferenceResponse(error=self._error(error))
        finally:
            laps.end()

    def _compute(self, tensor: Any) -> dict[str, np.ndarray]:
        self._check_batch(tensor)
        computed = self.network.run(tensor.as_numpy(), alone=not self.busy.others())
        return {f"raw{number}": one for number, one in enumerate(computed)}

    def _check_batch(self, tensor: Any) -> None:
        batch = tensor.shape()[0]
        if self.max_batch and not 1 <= batch <= self.max_batch:
            raise responses.RequestError(f"the batch of {batch} is not from 1 to {self.max_batch}")

    def _try(self, data: bytes, started: int, parameters: str) -> responses.Found:
        """One of several images: a bad one fails no other."""
        try:
            # Several at a time: one watch could not tell their steps apart.
            return self._find(data, started, parameters, timing.Recorder(), alone=False)
        except Exception as error:
            return responses.failed(self._error(error).message())

    def _find(
        self, data: bytes, started: int, parameters: str, laps: timing.Recorder, *, alone: bool
    ) -> responses.Found:
        image = decode(data, self.max_pixels)
        laps.lap("decode")
        lane = self._lane()
        lane.canvas.draw(image)
        laps.lap("letterbox")
        frame = (image.shape[0], image.shape[1])
        token = self.drawing.draw(self.sampler.sample(data), data, frame, parameters)
        laps.lap("sample")
        raws = [one[0] for one in self.network.compute(lane, alone=alone)]
        raw = raws[0].astype(np.float32, copy=False)
        laps.lap("network")
        boxes, scores, classes = self.selection.of(raw)
        boxes = to_image(boxes, self.size, frame)
        laps.lap("boxes")
        spent = (time.monotonic_ns() - started) / 1e6
        self.metrics.observe(scores, classes, relative_areas(boxes, frame), spent)
        found = (boxes, scores, classes)
        if token & copies.COPIED:
            copies.write_answer(self.spool, token, self.version, spent, found)
        if token & copies.DRAWN:
            embedding = raws[-1] if self.embeds else None
            self.answers.write(token, self.version, spent, found, raw, embedding)
        laps.lap("count")
        return responses.Found(boxes, scores, classes)

    def _lane(self) -> Any:
        """This thread's memory."""
        if not hasattr(self.lanes, "own"):
            canvas = Canvas(*self.size, self.dtype)
            known = all(-1 not in shape for _, shape in self.outputs)
            outputs = [np.empty(shape, kind) for kind, shape in self.outputs] if known else []
            self.lanes.own = Lane(canvas, outputs)
        return self.lanes.own

    def _error(self, error: Exception) -> Any:
        """Counts what went wrong; what the client is told. The client's fault is HTTP 400, gRPC
        INVALID_ARGUMENT."""
        if isinstance(error, guard.RefusedError):
            self.metrics.refuse()
        elif isinstance(error, ImageError):
            self.metrics.reject()
        elif not isinstance(error, responses.RequestError):
            self.metrics.fail()
            own = isinstance(error, NetworkError)
            return pb_utils.TritonError(str(error) if own else f"{type(error).__name__}: {error}")
        return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)


def _response(outputs: dict[str, np.ndarray]) -> Any:
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, np.ascontiguousarray(one)) for name, one in outputs.items()]
    )
