"""What went wrong in Ultralytics or torch, in words that help: reasons and messages.

Both raise bare RuntimeErrors for most things, so the text decides. What is not recognised is left
as it is and ends as an internal error with its traceback in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelyard.contract.statustext import truncate
from modelyard.workloads.errors import RetryableError, UserError, WorkloadError

MAX_ERROR = 300
"""Maximum characters of an error of Ultralytics or torch in a message."""

_Maker = Callable[[str], WorkloadError]


def _user(reason: str, message: str) -> _Maker:
    return lambda text: UserError(reason, message.format(text=text))


def _retry(reason: str, message: str) -> _Maker:
    return lambda text: RetryableError(reason, message.format(text=text))


# The first row with a text that occurs counts: memory before CUDA, which is in both.
_BY_TEXT: tuple[tuple[tuple[str, ...], _Maker], ...] = (
    (
        ("cuda out of memory", "cublas_status_alloc_failed"),
        _user(
            "OutOfGpuMemory",
            "the GPU's memory is too small for this training: lower hyperparameters.batch or "
            "imgsz, take a smaller model, or a larger GPU ({text})",
        ),
    ),
    (
        (
            "defaultcpuallocator",
            "can't allocate memory",
            "cannot allocate memory",
            "killed by signal: killed",
        ),
        _user(
            "OutOfMemory",
            "the pod's memory is too small for this training: raise spec.resources.memory, or "
            "lower hyperparameters.batch or imgsz ({text})",
        ),
    ),
    (
        (
            "shared memory",
            "bus error",
            "/dev/shm",  # noqa: S108
            # All that torch says where it did not see the signal that ended the worker.
            "exited unexpectedly",
        ),
        _user(
            "OutOfSharedMemory",
            "the data loader's workers ran out of shared memory, which is as large as the pod's "
            "memory: raise spec.resources.memory, or lower hyperparameters.workers, batch or "
            "imgsz ({text})",
        ),
    ),
    (
        ("nan persisted", "nan/inf"),
        _user(
            "Diverged",
            "the loss became infinite or not a number and training could not recover: lower "
            "hyperparameters.lr0, or set amp: false, and check the labels ({text})",
        ),
    ),
    (
        ("invalid cuda", "no cuda gpus are available", "found no nvidia driver"),
        _retry(
            "GpuUnavailable",
            "the pod sees no GPU: check that the image has CUDA and that "
            "scheduling.runtimeClassName is that of the NVIDIA runtime ({text})",
        ),
    ),
    (
        ("cuda error", "cudnn", "cublas", "nccl", "device-side assert"),
        _retry("GpuFailed", "the GPU failed during training ({text})"),
    ),
    (
        ("gives batchnorm a single value", "froze the entire model"),
        _user("InvalidHyperparameters", "{text}"),
    ),
    (
        ("no images found", "no valid images", "no labels found", "images not found"),
        _user("DatasetUnusable", "Ultralytics cannot train on this dataset: {text}"),
    ),
    (
        ("is invalid", "is of invalid type", "is an invalid value", "not found in list of"),
        _user("InvalidHyperparameters", "Ultralytics refuses a hyperparameter: {text}"),
    ),
)


def recognise(error: Exception) -> WorkloadError | None:
    """The error in our words; None if it is not one that is known."""
    if isinstance(error, WorkloadError):
        return error
    text = " ".join(str(error).split())
    lowered = text.lower()
    for signs, make in _BY_TEXT:
        if any(sign in lowered for sign in signs):
            return make(truncate(text, MAX_ERROR))
    return None


@contextmanager
def recognised() -> Iterator[None]:
    """Raises known errors in our words; others pass."""
    try:
        yield
    except Exception as error:
        known = recognise(error)
        if known is None or known is error:
            raise
        raise known from error
