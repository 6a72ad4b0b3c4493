"""The chain itself: data, training, version, servers, a prediction, and a swap under load.

Each step applies a manifest from examples/ and waits for the status that a user would wait for, so
that the demo fails where the documentation would. tests/e2e runs the same steps with assertions.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.cli import draw
from modelyard.cli.inference import Prediction, predict
from modelyard.cli.kube import connect
from modelyard_local.demo import reach
from modelyard_local.demo.agreement import Scene, matched, validation_scenes
from modelyard_local.demo.errors import DemoError
from modelyard_local.demo.load import Answer, RequestLoop, TritonConnection, figures
from modelyard_local.demo.objects import Object, Objects, message, phase
from modelyard_local.demo.screen import Screen, bar

LINE = "digits"
DEPLOYMENT = "digits"
LATEST = {"policy": "Latest", "number": None}
UPLOAD_KEY = "uploads/digits.zip"
CHECKED_SCENES = 20
LINGER_SECONDS = 5.0
"""How long the request loop goes on after a swap."""
Live = Callable[[str], None]


@dataclass
class Chain:
    """The steps, in order, and their results."""

    objects: Objects
    screen: Screen
    folder: Path
    """Folder for the results."""
    examples: Path
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    prediction: dict[str, Any] = field(default_factory=dict)
    swap: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Run all steps; what already exists is not made again. Raises DemoError."""
        self._dataset()
        self._apply("deployment.yaml")
        # An interrupted run may have left it pinned.
        self.objects.patch_spec("Deployment", DEPLOYMENT, {"version": LATEST})
        self._train("training-1.yaml", "digits-from-scratch", "train-1", "Train version 1")
        self._version("digits-1", "version-1", "Export, evaluate and gate digits-1")
        self._serve()
        first_run = self._serving_number() == 1
        self._train("training-2.yaml", "digits-fine-tuned", "train-2", "Fine-tune version 2")
        if first_run:
            self._swap_to_second()
        else:
            self._swap_again()
        self._predict()

    def _apply(self, name: str) -> None:
        self.objects.kubectl("apply", "-f", str(self.examples / name))

    def _dataset(self) -> None:
        archive = self.folder / "digits.zip"
        with self.screen.phase("data", "Fetch, check and pin the dataset") as live:
            if not archive.exists():
                live("drawing scenes of handwritten digits")
                make_scenes(self.examples / "scenes.py", archive)
            found = self.objects.get("Dataset", "digits")
            if found is None or phase(found) != "Ready":
                live("uploading")
                reach.upload(self.objects, archive, UPLOAD_KEY)
            self._apply("dataset.yaml")
            found = self.objects.wait(
                "Dataset",
                "digits",
                until=lambda o: phase(o) == "Ready",
                failed=("Invalid", "Failed"),
                describe=message,
                live=live,
                timeout=600,
            )
        status = found["status"]
        self.screen.say(f"   {status['message']}, pinned as {status['digest'][:19]}…")

    def _train(self, manifest: str, name: str, key: str, title: str) -> None:
        with self.screen.phase(key, title) as live:
            # A started training is immutable, and the example may have changed since.
            if self.objects.get("TrainingJob", name) is None:
                self._apply(manifest)
            found = self.objects.wait(
                "TrainingJob",
                name,
                until=lambda o: phase(o) == "Succeeded",
                failed=("Failed",),
                describe=describe_training,
                live=live,
                timeout=3600,
            )
        status = found["status"]
        self.training[name] = {
            "metrics": status.get("metrics", {}),
            "datasetDigest": status.get("datasetDigest"),
            "modelVersion": status.get("modelVersion"),
        }
        self.screen.say(f"   {status['message']}; {_metrics(status.get('metrics') or {})}")

    def _version(self, name: str, key: str, title: str) -> Object:
        with self.screen.phase(key, title) as live:
            found = self.objects.wait(
                "ModelVersion",
                name,
                until=lambda o: phase(o) == "Ready",
                failed=("Rejected", "Failed"),
                describe=message,
                live=live,
                timeout=1800,
            )
        status = found["status"]
        self.versions[name] = {
            "weightsDigest": found["spec"]["weights"]["digest"],
            "datasetDigest": found["spec"]["dataset"]["digest"],
            "artifacts": {a["name"]: a["digest"] for a in status["artifacts"]},
            "mAP50": status.get("mAP50"),
            "mAP50to95": status.get("mAP50to95"),
        }
        self.screen.say(f"   {status['message']}")
        return found

    def _serve(self) -> None:
        with self.screen.phase("serve", "Start Triton servers") as live:
            found = self._healthy(live)
        self.screen.say(f"   {found['status']['message']} at {found['status']['url']}")

    def _healthy(self, live: Live, number: int | None = None) -> Object:
        def good(found: Object) -> bool:
            stable = (found["status"].get("stable") or {}).get("version")
            return phase(found) == "Healthy" and number in (None, stable)

        return self.objects.wait(
            "Deployment", DEPLOYMENT, until=good, describe=message, live=live, timeout=900
        )

    def _serving_number(self) -> int:
        found = self.objects.get("Deployment", DEPLOYMENT) or {}
        return int(found["status"]["stable"]["version"])

    def _scenes(self) -> list[Scene]:
        return validation_scenes(self.folder / "digits.zip", CHECKED_SCENES)

    def _predict(self) -> None:
        found = labels = 0
        picture = self.folder / "prediction.png"
        version = ""
        cluster = connect(self.objects.kubeconfig)
        target = self.objects.get("Deployment", DEPLOYMENT) or {}
        with self.screen.phase("predict", f"Ask for boxes in {CHECKED_SCENES} pictures") as live:
            for number, scene in enumerate(self._scenes()):
                live(scene.name)
                answer = predict(cluster, target, scene.data, timeout=60)
                hits, of = matched(scene, *_boxes(answer))
                found, labels, version = found + hits, labels + of, answer.version
                if number == 0:
                    draw.save(draw.draw(scene.data, answer.detections), picture)
        self.prediction = {
            "pictures": CHECKED_SCENES,
            "labels": labels,
            "found": found,
            "share": round(found / max(labels, 1), 3),
            "version": version,
            "picture": str(picture),
        }
        self.screen.say(
            f"   version {version} found {found} of {labels} labelled digits (IoU ≥ 0.5); "
            f"boxes drawn into {picture}"
        )

    def _swap_to_second(self) -> None:
        """The first run: version 2 is exported and gated while requests already go to version 1,
        and then replaces it."""
        with self._load() as loop:
            self._version("digits-2", "version-2", "Export, evaluate and gate digits-2")
            since = time.time()
            with self.screen.phase("swap", "Replace version 1 by 2 under load") as live:
                self._healthy(_with_count(live, loop), 2)
                time.sleep(LINGER_SECONDS)
        self._keep(loop.stop(), since)

    def _swap_again(self) -> None:
        """A later run: back to version 1 and forward to 2, by spec, under load."""
        self._version("digits-2", "version-2", "Export, evaluate and gate digits-2")
        policies = {1: {"policy": "Pinned", "number": 1}, 2: LATEST}
        with (
            self.screen.phase("swap", "Back to version 1 and forward to 2 under load") as live,
            self._load() as loop,
        ):
            since = time.time()
            for number, policy in policies.items():
                self.objects.patch_spec("Deployment", DEPLOYMENT, {"version": policy})
                self._healthy(_with_count(live, loop), number)
            time.sleep(LINGER_SECONDS)
        self._keep(loop.stop(), since)

    @contextmanager
    def _load(self) -> Iterator[RequestLoop]:
        """Requests over HTTP and gRPC while the context lasts."""
        image = self._scenes()[0].data
        with reach.servers(self.objects, DEPLOYMENT) as addresses:
            loop = RequestLoop(
                [partial(TritonConnection, p, a, LINE, image) for p, a in addresses.items()]
            )
            loop.start()
            try:
                yield loop
            finally:
                loop.stop()

    def _keep(self, answers: list[Answer], since: float) -> None:
        """All requests count as sent or failed; latencies are those of the swap."""
        during = [a for a in answers if a.at >= since]
        self.swap = figures(answers) | {"milliseconds": figures(during)["milliseconds"]}
        times = self.swap["milliseconds"]
        counts = ", ".join(f"{n} by version {v}" for v, n in self.swap["answeredByVersion"].items())
        self.screen.say(
            f"   {self.swap['sent']} requests over HTTP and gRPC, {self.swap['failed']} failed; "
            f"{counts}; p50 {times['p50']} ms, p95 {times['p95']} ms, slowest {times['max']} ms"
        )
        for error in self.swap["errors"]:
            self.screen.say(f"   [red]{error['count']} x {error['error']}[/red]")


def _boxes(answer: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) xyxy in pixels and class ids (N,) of an answer."""
    rows = [(d.x1, d.y1, d.x2, d.y2) for d in answer.detections]
    classes = np.array([d.class_id for d in answer.detections], dtype=int)
    return np.array(rows, dtype=float).reshape(-1, 4), classes


def make_scenes(script: Path, archive: Path) -> None:
    """Run the example's script that draws the scenes. Raises DemoError."""
    command = [sys.executable, str(script), "--out", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the scenes could not be made: {done.stderr.strip()[-1000:]}")


def describe_training(found: Object) -> str:
    """One line about a training: bar, epoch, metrics, time left; or what it waits for."""
    status = found.get("status") or {}
    progress = status.get("progress") or {}
    if phase(found) != "Running" or not progress.get("epochs"):
        stage = progress.get("stage")
        return f"{stage}: {message(found)}" if stage else message(found)
    percent = int(progress.get("percent") or 0)
    parts = [
        f"{bar(percent)} {percent:3}%",
        f"epoch {progress.get('epoch', 0)}/{progress['epochs']}",
    ]
    if progress.get("metrics"):
        parts.append(_metrics(progress["metrics"]))
    if progress.get("remainingSeconds") is not None:
        parts.append(f"{progress['remainingSeconds']} s left")
    return "  ".join(parts)


def _metrics(metrics: dict[str, float]) -> str:
    names = {"mAP50": "mAP50", "mAP50to95": "mAP50-95"}
    return ", ".join(f"{names[k]} {metrics[k]:.3f}" for k in names if k in metrics)


def _with_count(live: Live, loop: RequestLoop) -> Live:
    def show(text: str) -> None:
        failed = sum(a.error is not None for a in loop.answers)
        live(f"{len(loop.answers)} requests, {failed} failed; {text}")

    return show
