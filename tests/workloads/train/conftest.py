"""A tiny dataset in a directory store, and workloads run as their pods run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelyard.contract.result import Outcome

SIZE = 64
TRAIN, VAL = 48, 16
OBJECT = {"namespace": "test", "name": "shapes", "uid": "u-1"}


def draw(path: Path, rng: np.random.Generator) -> str:
    """One scene with a bright square or a dark disk; returns its label."""
    image = rng.normal(128, 10, (SIZE, SIZE))
    kind, half = int(rng.integers(2)), int(rng.integers(8, 16))
    x, y = rng.integers(half, SIZE - half, 2)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    if kind == 0:
        image[y - half : y + half, x - half : x + half] = 250
    else:
        image[(rows - y) ** 2 + (columns - x) ** 2 < half**2] = 5
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).convert("RGB").save(path)
    return f"{kind} {x / SIZE} {y / SIZE} {2 * half / SIZE} {2 * half / SIZE}\n"


@dataclass
class Yard:
    """A store and the workloads that use it."""

    folder: Path
    dataset: str = ""
    runs: int = 0
    logs: list[Path] = field(default_factory=list)

    @property
    def store(self) -> dict[str, str]:
        return {"url": f"file://{self.folder}/store"}

    def start(self, module: str, run: dict[str, Any]) -> subprocess.Popen[bytes]:
        """The pod's process, its log in `logs[-1]`, with a scratch directory of its own."""
        self.runs += 1
        pod = self.folder / f"pod{self.runs}"
        pod.mkdir()
        (pod / "run.json").write_text(
            json.dumps({"object": OBJECT, "store": self.store, "cpuLimit": 1, **run})
        )
        self.logs.append(pod / "log")
        environment = os.environ | {
            "MODELYARD_RUN": str(pod / "run.json"),
            "MODELYARD_TERMINATION_LOG": str(pod / "termination"),
            "MODELYARD_SCRATCH": str(pod / "scratch"),
            "MODELYARD_SOURCE": str(self.folder / "source"),
            "POD_NAME": f"pod-{self.runs}",
        }
        environment.pop("KUBERNETES_SERVICE_HOST", None)
        with self.logs[-1].open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"modelyard.workloads.{module}"],
                env=environment, stdout=log, stderr=log, cwd=pod,
            )  # fmt: skip

    def outcome(self) -> Outcome:
        return Outcome.model_validate_json((self.logs[-1].parent / "termination").read_text())

    def run(self, module: str, run: dict[str, Any], code: int = 0) -> Outcome:
        """Run to the end; the exit code must be `code`."""
        found = self.start(module, run).wait(timeout=280)
        assert found == code, self.log()
        return self.outcome()

    def log(self) -> str:
        return self.logs[-1].read_text(errors="replace")

    def until_log(self, text: str, process: subprocess.Popen[bytes]) -> None:
        self.until(lambda: text in self.log(), process)

    def until(
        self, done: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240
    ) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def end(self, process: subprocess.Popen[bytes], how: signal.Signals) -> int:
        process.send_signal(how)
        return process.wait(timeout=60)

    def training(self, key: str, **run: Any) -> dict[str, Any]:
        """A train run of a few short epochs."""
        hyperparameters = {
            "epochs": 4, "imgsz": SIZE, "batch": 4, "nbs": 4, "warmup_epochs": 0,
            "close_mosaic": 0, "mosaic": 0, "optimizer": "AdamW", "lr0": 0.002,
        } | run.pop("hyperparameters", {})  # fmt: skip
        return {
            "kind": "train", "runKey": key, "datasetDigest": self.dataset,
            "hyperparameters": hyperparameters, **({"model": "yolo11n.yaml"} | run),
        }  # fmt: skip


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    pytest.importorskip(
        "ultralytics",
        reason="runs where Ultralytics is: in the trainer image",
        exc_type=ImportError,
    )
    yard = Yard(tmp_path_factory.mktemp("yard"))
    rng = np.random.default_rng(7)
    source = yard.folder / "source"
    for split, count in (("train", TRAIN), ("val", VAL)):
        for kind in ("images", "labels"):
            (source / kind / split).mkdir(parents=True)
        for number in range(count):
            label = draw(source / "images" / split / f"{number:03}.png", rng)
            (source / "labels" / split / f"{number:03}.txt").write_text(label)
    (source / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [square, disk]\n"
    )
    claim = {"pvc": {"claimName": "shapes", "path": ""}}
    run = {"kind": "data", "source": claim, "dataFile": "data.yaml", "quality": {}}
    result = yard.run("data", run).data
    assert result is not None
    assert result.valid, result.problems
    yard.dataset = str(result.digest)
    return yard
