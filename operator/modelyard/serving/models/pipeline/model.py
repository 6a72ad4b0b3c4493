"""The whole pipeline in one step, where ONNX Runtime for Python is at hand: no tensor crosses a
process.

IMAGE    BYTES [N]       JPEG, PNG, WebP or BMP; or the same as base64 text, for JSON clients
         its answer is described in responses.py
images   the network's input tensor, for its public name; its answer is the network's outputs, as
         raw0, raw1, …

One process computes several requests: `execute` hands the images of each to threads, returns, and
the thread that is through with the last image of a request sends its response. While all threads
are busy `execute` does not return, so what waits does so in Triton's queue, whose times the
autoscaler reads.
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

from modelyard.serving.models import copies, guard, responses, size
from modelyard.serving.models.boxes import Selection, relative_areas
from modelyard.serving.models.decode import ImageError, decode
from modelyard.serving.models.letterbox import Canvas, to_image
from modelyard.serving.models.metrics import Count, Metrics
from modelyard.serving.models.network import Lane, Network, NetworkError, Threads

MODEL_FILE = "model.onnx"
DTYPES = {"FP32": np.float32, "FP16": np.float16}


class Work:
    """One request under way."""

    def __init__(self, sender: Any, images: int) -> None:
        self.sender = sender
        self.started = time.monotonic_ns()
        self.found: list[responses.Found] = [responses.failed("")] * images
        self._left = images
        self._lock = threading.Lock()

    def put(self, number: int, found: responses.Found) -> bool:
        """Takes an image's answer; whether it was the last one."""
        with self._lock:
            self.found[number] = found
            self._left -= 1
            return self._left == 0


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters and opens the network."""
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        line, generation = values["model"], args["model_name"].removesuffix("-pipeline")
        key = guard.read_key()
        models = os.path.dirname(args["model_repository"].rstrip("/"))
        self.guard = guard.Guard(key, line, generation, models)
        self.version = int(values["version"])
        self.spool = os.path.join(copies.SPOOL, line)
        self.sampler = copies.Sampler(self.spool, generation)
        self.size = (int(values["height"]), int(values["width"]))
        self.selection = Selection.parse(values)
        self.labels = json.loads(values["classes"])
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
            )
        except NetworkError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        self.network.open_second(np.zeros((1, 3, *self.size), self.dtype))

    def _start(self, args: dict[str, str], values: dict[str, str]) -> None:
        # A counter with the same labels as another process's would end with it.
        own = {"model": values["model"], "version": values["version"]}
        own["source"] = args["model_instance_name"]
        self.metrics = Metrics(own, self.labels)
        # Triton takes an error that a Python step answers for a success.
        self.rejected = Count("modelyard_rejected_total", "Images that are none", own)
        self.failed = Count("modelyard_failures_total", "Images without an answer", own)
        self.refused = Count(guard.REFUSED, guard.REFUSED_TEXT, own)
        workers = int(values["workers"])
        self.max_pixels = size.max_pixels(size.memory_bytes(), workers)
        self.lanes = threading.local()
        self.pool = ThreadPoolExecutor(workers, "modelyard")
        self.free = threading.Semaphore(workers)

    def execute(self, requests: list[Any]) -> None:
        """Hands each request to the threads, which answer it by themselves."""
        for request in requests:
            self._begin(request, request.get_response_sender())
        # What comes next waits in Triton's queue until a thread is free.
        self.free.acquire()
        self.free.release()

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.pool.shutdown()
        self.network.close()
        self.metrics.stop()
        self.rejected.stop()
        self.failed.stop()
        self.refused.stop()

    def _begin(self, request: Any, sender: Any) -> None:
        try:
            self.guard.check(request.parameters())
            given = pb_utils.get_input_tensor_by_name(request, "IMAGE")
            tensor = pb_utils.get_input_tensor_by_name(request, "images")
            if (given is None) == (tensor is None):
                raise responses.RequestError("send either IMAGE or images")
            if given is None:
                self._check_batch(tensor)
                self._submit(self._compute, sender, tensor)
                return
            images = given.as_numpy().reshape(-1)
            responses.check_count(len(images), self.max_images)
            work = Work(sender, len(images))
            for number, data in enumerate(images):
                self._submit(self._image, work, number, bytes(data))
        except Exception as error:
            _send(sender, error=self._error(error))

    def _check_batch(self, tensor: Any) -> None:
        batch = tensor.shape()[0]
        if self.max_batch and not 1 <= batch <= self.max_batch:
            raise responses.RequestError(f"the batch of {batch} is not from 1 to {self.max_batch}")

    def _submit(self, run: Any, *arguments: Any) -> None:
        self.free.acquire()
        self.pool.submit(self._run, run, *arguments)

    def _run(self, run: Any, *arguments: Any) -> None:
        try:
            run(*arguments)
        except Exception as error:  # there is nobody left to tell
            pb_utils.Logger.log_error(f"{type(error).__name__}: {error}")
        finally:
            self.free.release()

    def _image(self, work: Work, number: int, data: bytes) -> None:
        try:
            found, error = self._find(data, work.started), None
        except Exception as raised:
            error = self._error(raised)
            found = responses.failed(error.message())
        if not work.put(number, found):
            return
        if error is not None and len(work.found) == 1:
            _send(work.sender, error=error)
        else:
            _send(work.sender, responses.outputs(work.found, self.labels))

    def _find(self, data: bytes, started: int) -> responses.Found:
        image = decode(data, self.max_pixels)
        lane = self._lane()
        lane.canvas.draw(image)
        token = self.sampler.sample(data)
        raw = self.network.compute(lane)[0][0]
        frame = (image.shape[0], image.shape[1])
        boxes, scores, classes = self.selection.of(raw)
        boxes = to_image(boxes, self.size, frame)
        spent = (time.monotonic_ns() - started) / 1e6
        self.metrics.observe(scores, classes, relative_areas(boxes, frame), spent)
        if token:
            found = (boxes, scores, classes)
            copies.write_answer(self.spool, token, self.version, spent, found)
        return responses.Found(boxes, scores, classes)

    def _lane(self) -> Any:
        """This thread's memory."""
        if not hasattr(self.lanes, "own"):
            canvas = Canvas(*self.size, self.dtype)
            known = all(-1 not in shape for _, shape in self.outputs)
            outputs = [np.empty(shape, kind) for kind, shape in self.outputs] if known else []
            self.lanes.own = Lane(canvas, outputs)
        return self.lanes.own

    def _compute(self, sender: Any, tensor: Any) -> None:
        try:
            computed = self.network.run(tensor.as_numpy())
        except Exception as error:
            _send(sender, error=self._error(error))
            return
        _send(sender, {f"raw{number}": one for number, one in enumerate(computed)})

    def _error(self, error: Exception) -> Any:
        """Counts what went wrong; what the client is told. The client's fault is HTTP 400, gRPC
        INVALID_ARGUMENT."""
        if isinstance(error, guard.RefusedError):
            self.refused.add()
        elif isinstance(error, ImageError):
            self.rejected.add()
        elif not isinstance(error, responses.RequestError):
            self.failed.add()
            own = isinstance(error, NetworkError)
            return pb_utils.TritonError(str(error) if own else f"{type(error).__name__}: {error}")
        return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)


def _send(sender: Any, outputs: dict[str, np.ndarray] | None = None, error: Any = None) -> None:
    tensors = [
        pb_utils.Tensor(name, np.ascontiguousarray(one)) for name, one in (outputs or {}).items()
    ]
    sender.send(
        pb_utils.InferenceResponse(tensors, error=error),
        flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
    )
