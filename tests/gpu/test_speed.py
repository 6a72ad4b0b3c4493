"""Images per second on the GPU and on the machine's CPUs, and what mixed precision is for."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from .conftest import Digits, Epoch

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


def train(runner: Digits, key: str, gpus: int, **hyperparameters: Any) -> list[Epoch]:
    """Three epochs, of which the second has neither warming up nor a validation."""
    settings = {"epochs": 3, "val": False, **hyperparameters}
    runner.run("train", runner.training(key, gpus=gpus, hyperparameters=settings))
    assert ("CUDA:0" in runner.log()) == bool(gpus)
    epochs = runner.epochs()
    assert all(math.isfinite(value) for one in epochs for value in one.losses.values())
    return epochs


@pytest.mark.parametrize("size", [128, 640])
@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_images_per_second(runner: Digits, gpu: str, device: str, size: int, figure: Any) -> None:
    cpus, fraction = runner.cpus, 1.0
    if device == "cpu":
        runner.cpus, fraction = len(os.sched_getaffinity(0)), 0.1
    try:
        train(runner, f"{device}-{size}", int(device == "gpu"), imgsz=size, fraction=fraction)
        figure(images_per_second=runner.images_per_second(fraction), cpus=runner.cpus, gpu=gpu)
    finally:
        runner.cpus = cpus


def test_mixed_precision_takes_less_of_the_gpus_memory(
    runner: Digits, gpu: str, figure: Any
) -> None:
    taken = {}
    for name, amp in (("fp32", False), ("fp16", True), ("bf16", "bf16")):
        epochs = train(runner, name, 1, imgsz=640, batch=64, amp=amp, epochs=2, fraction=0.5)
        taken[name] = epochs[0].gpu_memory
    figure(gpu_memory_gib=taken, gpu=gpu)
    assert taken["fp16"] < 0.8 * taken["fp32"]
    assert taken["bf16"] < 0.8 * taken["fp32"]
