"""Failures of torch and Ultralytics in words that help."""

from __future__ import annotations

import pytest

from modelyard.workloads.errors import RetryableError, UserError, WorkloadError
from modelyard.workloads.train.failures import recognise, recognised


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity",
            UserError, "OutOfGpuMemory",
        ),
        (
            "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 8 bytes", UserError, "OutOfMemory",
        ),
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory", UserError, "OutOfSharedMemory",
        ),
        # What the user read before: "this is a bug in Modelyard".
        (
            "DataLoader worker (pid(s) 41, 42) exited unexpectedly", UserError,
            "OutOfSharedMemory",
        ),
        (
            "unable to open shared memory object </torch_7_1> in read-write mode: No space left",
            UserError, "OutOfSharedMemory",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", UserError, "OutOfMemory"),
        ("Training failed: NaN persisted for 4 epochs", UserError, "Diverged"),
        ("Invalid CUDA 'device=0' requested. Use 'device=cpu'", RetryableError, "GpuUnavailable"),
        ("CUDA error: an illegal memory access was encountered", RetryableError, "GpuFailed"),
        (
            "final batch=1 training at imgsz=32 gives BatchNorm a single value per channel; change "
            "batch", UserError, "InvalidHyperparameters",
        ),
        (
            "'lr0=2' is an invalid value. Valid 'lr0' values are between 0.0 and 1.0.",
            UserError, "InvalidHyperparameters",
        ),
    ],
)  # fmt: skip
def test_a_known_failure_gets_reason_and_advice(
    text: str, kind: type[WorkloadError], reason: str
) -> None:
    with pytest.raises(kind) as caught, recognised():
        raise RuntimeError(text)
    assert caught.value.reason == reason
    assert text[:30] in caught.value.message


@pytest.mark.parametrize(
    "text", ["worker (pid 7) is killed by signal: Bus error", "worker exited unexpectedly"]
)
def test_too_little_shared_memory_says_what_to_raise(text: str) -> None:
    error = recognise(RuntimeError(f"DataLoader {text}"))
    assert error is not None
    assert "raise spec.resources.memory" in error.message


def test_an_unknown_failure_stays_as_it_is() -> None:
    error = RuntimeError("something odd")
    assert recognise(error) is None
    with pytest.raises(RuntimeError) as caught, recognised():
        raise error
    assert caught.value is error
