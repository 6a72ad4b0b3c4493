"""Thousands of objects of all our kinds, as a site that has been used for a while has them.

A *line* is 1 Dataset, 6 TrainingJobs that wait for their pods, 6 Ready ModelVersions, and a
Deployment with 2 servers whose agents have loaded what they were assigned. Of these 16 objects the
operator makes the 2 ModelServers; beyond them it makes 6 Jobs, an apps/Deployment and a Service,
and there are the servers' 2 pods.
"""

from __future__ import annotations

from typing import Any

from modelyard.kube.kinds import by_name

from ..cluster.fake_status import loaded
from .api import SPACE, Manifest, each
from .ours import DATASET, DIGEST, MOMENT, TRAINING, dataset, dataset_status, training
from .processes import until
from .site import Site

PER_LINE = 16
"""Objects of our kinds in a line."""
TRAININGS = 6
SERVERS = 2
VERSION, DEPLOYMENT = by_name("ModelVersion"), by_name("Deployment")
SERVER, POD, WORKLOAD = by_name("ModelServer"), by_name("Pod"), by_name("apps/Deployment")


async def add_lines(site: Site, first: int, count: int, deadline: float) -> None:
    """Adds the lines `first` … with an operator running. Raises TooLong, Refused."""
    numbers = range(first, first + count)
    api = site.api

    async def declare(number: int) -> None:
        line = _line(number)
        made = await api.create(DATASET, dataset(line))
        await api.patch(DATASET, line, {"status": dataset_status(made)})
        for one in range(1, TRAININGS + 1):
            await api.create(TRAINING, training(f"{line}-t{one}", line))
            version = await api.create(VERSION, _version(line, one))
            await api.patch(VERSION, version["metadata"]["name"], {"status": _ready(one)})
        await api.create(DEPLOYMENT, _deployment(line))

    await each(numbers, declare)
    wanted = first + count

    async def deployed() -> bool:
        return len(await api.items(WORKLOAD)) >= wanted

    await until(deployed, deadline, f"{wanted} apps/Deployments", pause=2)
    mine = {_line(number) for number in numbers}
    workloads = [
        w for w in await api.items(WORKLOAD) if w["metadata"]["ownerReferences"][0]["name"] in mine
    ]

    async def serve(workload: Manifest) -> None:
        for number in range(SERVERS):
            pod = await api.create(POD, _pod(workload, number))
            await api.patch(POD, pod["metadata"]["name"], {"status": _POD_READY})

    await each(workloads, serve)

    async def assigned() -> bool:
        return len(await api.items(SERVER)) >= SERVERS * wanted

    await until(assigned, deadline, f"{SERVERS * wanted} ModelServers", pause=2)

    async def load(server: Manifest) -> None:
        if not server.get("status"):
            await api.patch(SERVER, server["metadata"]["name"], {"status": loaded(server)})

    await each(await api.items(SERVER), load)
    await site.settled(deadline)


def _line(number: int) -> str:
    return f"line-{number:04d}"


def _version(line: str, number: int) -> Manifest:
    return {
        "apiVersion": VERSION.api_version,
        "kind": "ModelVersion",
        "metadata": {"name": f"{line}-{number}", "namespace": SPACE},
        "spec": {
            "modelLine": line,
            "version": number,
            "weights": {"uri": f"s3://models/{line}.onnx", "digest": DIGEST, "format": "onnx"},
            "exports": [{"name": "onnx", "format": "onnx"}],
            "dataset": {"name": line, "digest": DIGEST},
        },
    }


def _ready(number: int) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "GatesPassed",
        "message": "",
        "lastTransitionTime": MOMENT,
        "observedGeneration": 1,
    }
    artifact = {
        "name": "onnx",
        "format": "onnx",
        "digest": f"sha256:{number:064x}",
        "manifestDigest": f"sha256:{number + 100:064x}",
        "sizeBytes": 10_000_000,
    }
    return {
        "phase": "Ready",
        "observedGeneration": 1,
        "conditions": [condition],
        "artifacts": [artifact],
    }


def _deployment(line: str) -> Manifest:
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": "Deployment",
        "metadata": {"name": line, "namespace": SPACE},
        "spec": {"modelLine": line, "target": {"cluster": {"replicas": SERVERS}}},
    }


def _pod(workload: Manifest, number: int) -> Manifest:
    """A pod of a workload, as the ReplicaSet controller would make it."""
    template = workload["spec"]["template"]
    return {
        "metadata": {
            "name": f"{workload['metadata']['name']}-{number}",
            "namespace": SPACE,
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    }


_POD_READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
