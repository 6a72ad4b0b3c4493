"""Our arm: the operator as shipped, TrainingJob → Job."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

from modelyard.api.dataset import DatasetSpec
from modelyard.core.dataset import names
from modelyard.kube.kinds import by_name

from .api import SPACE, Manifest, each
from .arms import JOB, Arm
from .processes import Process, TooLong, fetch, until
from .report import ROOT
from .site import Site, free_port

CRDS = ROOT / "crds"
TRAINING, DATASET = by_name("TrainingJob"), by_name("Dataset")
PER_DATASET = 100
"""TrainingJobs that share a Dataset."""
DIGEST = "sha256:" + "a" * 64
MOMENT = "2026-01-01T00:00:00Z"


class Operator:
    """`python -m modelyard.handlers` with its defaults, but for the number of workers."""

    def __init__(self, site: Site, **settings: str) -> None:
        self._port = free_port()
        environment = {
            "KUBECONFIG": str(site.kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": str(self._port),
            "MODELYARD_LEASE_NAMESPACE": SPACE,
            "MODELYARD_WORKERS": str(site.workers),
            **{f"MODELYARD_{name}": value for name, value in settings.items()},
        }
        log = site.folder / "operator.log"
        command = [sys.executable, "-m", "modelyard.handlers"]
        self.process = Process(command, environment, log)

    async def metrics(self) -> str | None:
        """All metrics in Prometheus' text format; None while there is no answer."""
        return await fetch(f"http://127.0.0.1:{self._port}/metrics")

    async def metric(self, name: str) -> float | None:
        """Sum of a metric, or of all whose names match a pattern, over its labels; None while there
        is no answer."""
        text = await self.metrics()
        if text is None:
            return None
        lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def synced(self) -> bool:
        """Whether it leads and its cache is complete."""
        self.process.check()
        return await self.metric("modelyard_synced") == 1

    async def idle(self) -> bool:
        """Whether all that is due has been done."""
        return await self.synced() and await self.metric("modelyard_queue_(due|working)") == 0


async def start_until_idle(
    site: Site, objects: int, deadline: float, **settings: str
) -> tuple[float, Operator]:
    """Starts an operator; seconds until it has reconciled at least `objects` and is idle, as two
    looks in a row say. Raises TooLong."""
    operator = Operator(site, **settings)
    begun = time.monotonic()
    operator.process.start()
    first: float | None = None
    while True:
        now = time.monotonic() - begun
        done = await operator.metric("modelyard_reconciles_total") or 0
        if done >= objects and await operator.idle():
            if first is not None:
                return first, operator
            first = now
        else:
            first = None
        if now > deadline:
            operator.process.stop()
            raise TooLong(f"the operator is not idle {deadline:.0f} s after its restart")
        await asyncio.sleep(0.2)


class Modelyard(Arm):
    """The operator with all its controllers."""

    name, label = "modelyard", "Modelyard, TrainingJob → Job"
    owner, child = TRAINING, JOB

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.operator: Operator | None = None

    async def start(self, objects: int) -> None:
        await each(range(-(-objects // PER_DATASET)), self._dataset)
        self.operator = Operator(self.site)
        self.operator.process.start()
        await until(self.operator.synced, 60, "the operator is synced")

    def stop(self) -> None:
        if self.operator is not None:
            self.operator.process.stop()

    @property
    def pid(self) -> int:
        assert self.operator is not None
        return self.operator.process.pid

    def manifest(self, name: str, number: int) -> Manifest:
        return training(name, dataset_name(number // PER_DATASET))

    def finished(self, obj: Manifest) -> bool:
        return (obj.get("status") or {}).get("phase") == "Succeeded"

    async def _dataset(self, number: int) -> None:
        made = await self.site.api.create(DATASET, dataset(dataset_name(number)))
        name = made["metadata"]["name"]
        await self.site.api.patch(DATASET, name, {"status": dataset_status(made)})


def crd_files() -> list[Path]:
    """Our CRDs."""
    return sorted(CRDS.glob("*.yaml"))


def dataset_name(number: int) -> str:
    """Name of a Dataset of our arm."""
    return f"data-{number}"


def dataset(name: str) -> Manifest:
    """A Dataset; what it points to is never fetched."""
    return {
        "apiVersion": DATASET.api_version,
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"source": {"http": {"url": f"http://example.com/{name}.zip"}}},
    }


def dataset_status(made: Manifest) -> Manifest:
    """The status of a Dataset that was checked and found good."""
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Resolved",
            "message": "",
            "lastTransitionTime": MOMENT,
            "observedGeneration": 1,
        }
        for kind in ("Ready", "Valid")
    ]
    return {
        "phase": "Ready",
        "digest": DIGEST,
        "observedGeneration": made["metadata"]["generation"],
        "runHash": names.run_hash(made, DatasetSpec.model_validate(made["spec"])),
        "conditions": conditions,
    }


def training(name: str, data: str) -> Manifest:
    """A TrainingJob with a model line of its own: retrainings of one line come one by one."""
    return {
        "apiVersion": TRAINING.api_version,
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "model": "yolo11n.yaml",
            "dataset": {"name": data},
            "hyperparameters": {"epochs": 100, "imgsz": 640, "batch": 16},
            "output": {"modelLine": name},
        },
    }
