"""Triton's `onnxruntime` backend, written as a Python-based backend.

The server that this image carries has no ONNX Runtime backend of its own; this file serves every
model whose config.pbtxt says `backend: "onnxruntime"`, so one model repository fits both this
image and the vendor's with its C++ backend. It reads the vendor's parameters
intra_op_thread_count, inter_op_thread_count and execution_mode.

https://github.com/triton-inference-server/backend/blob/main/docs/python_based_backends.md
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from typing import Any

TURN_SECONDS = 10.0
"""Longest wait for another copy's start."""


def _turn() -> int | None:
    """A lock that lets one copy start at a time; all at once, they would take the CPUs from those
    that serve meanwhile. Who waits for long, or has no place for it, goes on without."""
    path = os.path.join(tempfile.gettempdir(), f"modelyard-onnxruntime-{os.getuid()}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    deadline = time.monotonic() + TURN_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.05)
    return descriptor


# Before these imports, which are half of a start's work.
_TURN = _turn()

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

DEFAULT_FILE = "model.onnx"
SPIN_MICROSECONDS = "20"
"""How long a thread waits for work before it sleeps; waking it takes about as long. ONNX Runtime
knows the setting from 1.26 on."""
_NETWORK_NAME = re.compile(r"^(.+)-([1-9][0-9]*)-[0-9a-f]{8}-network$")
_CPU_PERIOD_FILES = (
    ("/sys/fs/cgroup/cpu.max", None),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict) -> None:
        """Opens the model. Raises TritonModelException with what is wrong with the file."""
        try:
            self._open(args)
        finally:
            if _TURN is not None:
                os.close(_TURN)

    def _open(self, args: dict) -> None:
        config = json.loads(args["model_config"])
        path = model_path(args, config)
        if not os.path.isfile(path):
            raise pb_utils.TritonModelException(f"there is no model file {path}")
        parameters = {key: one["string_value"] for key, one in config.get("parameters", {}).items()}
        try:
            self.session = onnxruntime.InferenceSession(
                path, session_options(parameters), providers=providers(args)
            )
        except Exception as error:
            raise pb_utils.TritonModelException(
                f"ONNX Runtime {onnxruntime.__version__} cannot open {os.path.basename(path)}: "
                f"{' '.join(str(error).split())}"
            ) from None
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one["name"] for one in config["output"]]
        self.batched = config.get("max_batch_size", 0) > 0
        self._check_names(config)
        self.failures = Failures(args)

    def _check_names(self, config: dict) -> None:
        for kind, wanted, found in (
            ("input", [one["name"] for one in config["input"]], self.inputs),
            ("output", self.outputs, [one.name for one in self.session.get_outputs()]),
        ):
            missing = sorted(set(wanted) - set(found))
            if missing:
                raise pb_utils.TritonModelException(
                    f"the model has no {kind} {', '.join(missing)}; it has {', '.join(found)}"
                )

    def execute(self, requests: list) -> list:
        """Computes requests together where the model takes batches, else one by one."""
        if self.batched and len(requests) > 1:
            return self._together(requests)
        return [self._answer([request])[0] for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.failures.stop()

    def _together(self, requests: list) -> list:
        # One request of a wrong shape must not fail its neighbours.
        shapes = {tuple(x.shape[1:] for x in self._tensors(one)) for one in requests}
        if len(shapes) > 1:
            return [self._answer([request])[0] for request in requests]
        return self._answer(requests)

    def _tensors(self, request: Any) -> list:
        return [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs]

    def _answer(self, requests: list) -> list:
        rows = [self._tensors(request) for request in requests]
        columns = [
            values[0] if len(requests) == 1 else np.concatenate(values)
            for values in zip(*rows, strict=True)
        ]
        try:
            results = self.session.run(self.outputs, dict(zip(self.inputs, columns, strict=True)))
        except Exception as error:
            self.failures.add(len(requests))
            failure = pb_utils.TritonError(f"ONNX Runtime: {' '.join(str(error).split())}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        if len(requests) == 1:
            return [self._response(results)]
        ends = np.cumsum([row[0].shape[0] for row in rows])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [self._response(part) for part in parts]

    def _response(self, values: Any) -> Any:
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, np.ascontiguousarray(value))
                for name, value in zip(self.outputs, values, strict=True)
            ]
        )


class Failures:
    """Counts failed requests as the metric modelyard_failures_total, with the model line and
    version that a network of Modelyard's is part of, else the model's own.

    Triton takes an error that a Python backend answers for a success of the model; its C++
    backends tell it better.
    """

    def __init__(self, args: dict) -> None:
        found = _NETWORK_NAME.match(args["model_name"])
        line, number = found.groups() if found else (args["model_name"], args["model_version"])
        # The instance: a counter with the same labels as another one's would end with it.
        source = args["model_instance_name"]
        self._labels = {"model": line, "version": number, "source": source}
        self._counter: Any = None
        self._family: Any = None

    def add(self, count: int) -> None:
        """Counts failed requests."""
        if self._counter is None:
            # Kept: its counters end with it.
            self._family = pb_utils.MetricFamily(
                name="modelyard_failures_total",
                description="Images without an answer",
                kind=pb_utils.MetricFamily.COUNTER,
            )
            self._counter = self._family.Metric(labels=self._labels)
        self._counter.increment(count)

    def stop(self) -> None:
        """Gives the counter back while the server still listens: at the end of the process it
        would crash it."""
        self._counter = self._family = None


def model_path(args: dict, config: dict) -> str:
    """Path of the model file. For Python-based backends, `model_repository` is the model's own
    folder."""
    name = config.get("default_model_filename") or DEFAULT_FILE
    return os.path.join(args["model_repository"], args["model_version"], name)


def session_options(parameters: dict[str, str]) -> onnxruntime.SessionOptions:
    """Session options from the model's parameters; threads default to the CPU limit."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0)) or cpu_limit()
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if parameters.get("execution_mode") == "1":
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    # Between two operators of a run the threads wait awake, which makes a run a quarter faster;
    # longer, or after a run, they would take the CPU from the steps before and after the network.
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def providers(args: dict) -> list:
    """CUDA for instances placed on a GPU, if this ONNX Runtime has it; else the CPU."""
    available = onnxruntime.get_available_providers()
    if args["model_instance_kind"] == "GPU" and "CUDAExecutionProvider" in available:
        device = {"device_id": args["model_instance_device_id"]}
        return [("CUDAExecutionProvider", device), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def cpu_limit() -> int:
    """CPUs that this container may use, at least 1."""
    count = len(os.sched_getaffinity(0))
    for quota_file, period_file in _CPU_PERIOD_FILES:
        try:
            quota, period = _quota(quota_file, period_file)
        except (OSError, ValueError):
            continue
        if quota > 0:
            return max(1, min(count, quota // period))
    return count


def _quota(quota_file: str, period_file: str | None) -> tuple[int, int]:
    with open(quota_file) as file:
        words = file.read().split()
    if period_file is None:
        return int(words[0]), int(words[1])  # cgroup v2; "max" is a ValueError: no limit
    with open(period_file) as file:
        return int(words[0]), int(file.read())
