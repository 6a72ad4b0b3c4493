"""Workloads on a real NVIDIA GPU, with the example's scenes of handwritten digits.

    make test-gpu                       # where there is a GPU
    pytest tests/gpu --rehearse         # the same tests, small and on the CPU: are they right?

Figures are printed at the end and kept in `.bench/gpu.json`; nothing asserts a time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ..workloads.workload_runner import WorkloadRunner

ROOT = Path(__file__).parents[2]
FIGURES = Path(os.environ.get("MODELYARD_GPU_FIGURES") or ROOT / ".bench" / "gpu.json")
EPOCH = re.compile(
    r"epoch (\d+)/\d+ in ([0-9.]+) s(?:, GPU memory ([0-9.]+) GiB)?: (.*)", re.MULTILINE
)
_figures: dict[str, Any] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rehearse", action="store_true", help="GPU tests: run small, and without a GPU"
    )


@cache
def lacking() -> str | None:
    """Why the tests cannot run here; None if they can."""
    try:
        import torch
        import ultralytics  # noqa: F401
    except ImportError as error:
        return f"runs where torch and Ultralytics are, see docs/testing.md ({error})"
    return None if torch.cuda.is_available() else "needs an NVIDIA GPU: torch sees none"


@pytest.fixture(scope="session")
def rehearsal(request: pytest.FixtureRequest) -> bool:
    """Whether all of it runs without a GPU."""
    return bool(request.config.getoption("--rehearse", default=False))


@pytest.fixture(scope="session")
def gpu(rehearsal: bool) -> str:
    """The GPU's name; skips where there is none, in a rehearsal too."""
    if reason := lacking():
        pytest.skip(reason)
    import torch

    return str(torch.cuda.get_device_name(0))


@dataclass(frozen=True)
class Epoch:
    """What the log says of one."""

    number: int
    seconds: float
    gpu_memory: float | None
    """GiB at most until its end."""
    losses: dict[str, float]


class Digits(WorkloadRunner):
    """A runner with the digits, and trainings for their figures."""

    gpus: int
    images: int
    """In the training split."""
    size: int
    """Width and height that is trained with, unless a test says so."""

    def training(self, key: str, *, gpus: int | None = None, **run: Any) -> dict[str, Any]:
        """A train run with this machine's GPU; `gpus` 0 keeps to the CPU."""
        hyperparameters = {"imgsz": self.size, "epochs": 2, "batch": 16} | run.pop(
            "hyperparameters", {}
        )
        return {
            "kind": "train", "runKey": key, "datasetDigest": self.dataset,
            "gpus": self.gpus if gpus is None else gpus, "hyperparameters": hyperparameters,
            **({"model": "yolo11n.yaml"} | run),
        }  # fmt: skip

    def epochs(self) -> list[Epoch]:
        """The epochs of the last pod's log."""
        found = []
        for number, seconds, memory, text in EPOCH.findall(self.log()):
            pairs = (one.rsplit(" ", 1) for one in text.split(", "))
            losses = {name: float(value) for name, value in pairs}
            found.append(
                Epoch(int(number), float(seconds), float(memory) if memory else None, losses)
            )
        return found

    def images_per_second(self, fraction: float = 1.0) -> float:
        """Over whole epochs of the last pod, but the first one, which has all the warming up, and
        the last one, which may differ in validation."""
        seconds = median(one.seconds for one in self.epochs()[1:-1] or self.epochs())
        return round(self.images * fraction / seconds, 1)


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory, rehearsal: bool) -> Digits:
    if not rehearsal and (reason := lacking()):
        pytest.skip(reason)
    cpus = len(os.sched_getaffinity(0))
    runner = Digits(tmp_path_factory.mktemp("runner"), cpus=min(cpus, 8))
    runner.gpus = 0 if rehearsal else 1
    runner.images, val = (16, 8) if rehearsal else (800, 100)
    runner.size = 32 if rehearsal else 128
    archive = runner.folder / "digits.zip"
    scenes = [str(ROOT / "examples" / "digits" / "scenes.py"), "--out", str(archive)]
    sizes = ["--train", str(runner.images), "--val", str(val)]
    subprocess.run([sys.executable, *scenes, *sizes], check=True)
    with zipfile.ZipFile(archive) as file:
        file.extractall(runner.folder / "source")
    runner.publish()
    return runner


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Any:
    """`figure(name=value)` keeps figures under the test's name."""

    def keep(**values: Any) -> None:
        _figures.setdefault(request.node.name, {}).update(values)
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(_text())

    return keep


def _text() -> str:
    import torch

    machine = {
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cpus": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
    }
    return json.dumps({"machine": machine, "figures": _figures}, indent=1) + "\n"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _figures:
        terminalreporter.section("figures")
        terminalreporter.write(_text())
