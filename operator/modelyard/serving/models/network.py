"""The network on ONNX Runtime, in the process that decodes and selects boxes.

Runs inside Triton (`__init__.py`) on the image that has ONNX Runtime for Python: it may import
numpy and onnxruntime.

A small network has operators so short that threads which share one mostly wait for each other. So
several processes compute it side by side, and each has opened it twice: `wide` computes with all
CPUs' threads, for a single client; `narrow` with few, while other processes are busy as well.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

from modelyard.serving.models.letterbox import Canvas

SPIN_MICROSECONDS = "20"
"""How long a thread waits for work before it sleeps; waking it takes about as long. ONNX Runtime
knows the setting from 1.26 on."""


class NetworkError(RuntimeError):
    """ONNX Runtime could not compute; the message is its own."""


@dataclass(frozen=True)
class Threads:
    """How a network is computed."""

    wide: int
    """Threads of an image that is computed alone; 0 for one per CPU that the process may use."""
    narrow: int = 0
    """Threads of each of several images; 0 if all are computed with `wide`."""


@dataclass
class Lane:
    """Memory for one image at a time: ONNX Runtime reads and writes it in place."""

    canvas: Canvas
    """The network's input."""
    outputs: list[np.ndarray]
    """Its outputs, of a batch of one; empty where their shapes are not known."""
    bindings: dict[int, Any] = field(default_factory=dict)
    """Of each session that has computed here, by its id."""


class Busy:
    """Which of the processes of a model compute: each marks its own byte of a shared file."""

    def __init__(self, name: str, number: int, processes: int) -> None:
        """`number` is this process' own, from 0. Where there is no place for a file, nothing is
        known of the others."""
        self._number = number
        self._marks: Any = bytearray(processes)
        path = os.path.join(tempfile.gettempdir(), f"modelyard-{os.getuid()}-{name}.busy")
        with suppress(OSError, ValueError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.ftruncate(descriptor, processes)
                self._marks = mmap.mmap(descriptor, processes)
            finally:
                os.close(descriptor)
        self._path = path
        self._marks[number] = 0

    def __enter__(self) -> None:
        self._marks[self._number] = 1

    def __exit__(self, *_: object) -> None:
        self._marks[self._number] = 0

    def others(self) -> bool:
        """Whether another process computes."""
        marks = bytearray(self._marks[:])
        marks[self._number] = 0
        return any(marks)

    def close(self) -> None:
        """Removes the file."""
        self._marks[self._number] = 0
        with suppress(OSError):
            os.unlink(self._path)


class Network:
    """An ONNX file, opened for any number of threads."""

    def __init__(
        self, path: str, threads: Threads, inputs: str, outputs: Sequence[str], *, public: int = 1
    ) -> None:
        """`public` of the outputs, the first ones, are what `run` computes. Raises NetworkError
        with what is wrong with the file."""
        self._public = public
        self._path = path
        self._input, self._outputs = inputs, list(outputs)
        self._threads = threads
        self._wide = self._narrow = self._session(threads.wide)
        self._second: threading.Thread | None = None

    def open_second(self, example: np.ndarray) -> None:
        """Opens `narrow` in a thread of its own, so that the first answer need not wait for it."""
        self._second = threading.Thread(target=self._open_narrow, args=(example,), daemon=True)
        self._second.start()

    def close(self) -> None:
        """Waits until nothing is opened any more."""
        if self._second is not None:
            self._second.join(60)

    def compute(self, lane: Lane, *, alone: bool) -> list[np.ndarray]:
        """The outputs for what is drawn on the lane's canvas; they are good until the lane's next
        image. Raises NetworkError."""
        with _explained():
            return self._bound(self._wide if alone else self._narrow, lane)

    def run(self, tensor: np.ndarray, *, alone: bool) -> list[np.ndarray]:
        """The public outputs for a tensor that the network takes, of any batch. Raises
        NetworkError."""
        with _explained():
            session = self._wide if alone else self._narrow
            wanted = self._outputs[: self._public]
            computed: list[np.ndarray] = session.run(wanted, {self._input: tensor})
            return computed

    def _bound(self, session: Any, lane: Lane) -> list[np.ndarray]:
        if not lane.outputs:
            computed: list[np.ndarray] = session.run(
                self._outputs, {self._input: lane.canvas.tensor}
            )
            return computed
        binding = lane.bindings.get(id(session))
        if binding is None:
            binding = lane.bindings[id(session)] = session.io_binding()
            _bind(binding.bind_input, self._input, lane.canvas.tensor)
            for name, output in zip(self._outputs, lane.outputs, strict=True):
                _bind(binding.bind_output, name, output)
        session.run_with_iobinding(binding)
        return lane.outputs

    def _open_narrow(self, example: np.ndarray) -> None:
        # `wide` computes everything as well, only not as much at a time.
        with suppress(Exception):
            if self._threads.narrow not in (0, self._threads.wide):
                session = self._session(self._threads.narrow)
                session.run(self._outputs, {self._input: example})
                self._narrow = session
        # What opening took: a third of the process' memory.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

    def _session(self, threads: int) -> Any:
        try:
            session = onnxruntime.InferenceSession(
                self._path, _options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise NetworkError(
                f"ONNX Runtime {onnxruntime.__version__} cannot open "
                f"{os.path.basename(self._path)}: {' '.join(str(error).split())}"
            ) from None
        for kind, wanted, there in (
            ("input", [self._input], session.get_inputs()),
            ("output", self._outputs, session.get_outputs()),
        ):
            names = [one.name for one in there]
            if missing := sorted(set(wanted) - set(names)):
                raise NetworkError(
                    f"the model has no {kind} {', '.join(missing)}; it has {', '.join(names)}"
                )
        return session


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NetworkError(f"ONNX Runtime: {' '.join(str(error).split())}") from error


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Between two operators of a run the threads wait awake, which makes a run a quarter faster;
    # longer, or after a run, they would take the CPU from the steps before and after the network.
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _bind(bind: Any, name: str, array: np.ndarray) -> None:
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
