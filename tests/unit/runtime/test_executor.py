"""A child that has ended is made again only for an owner that still lives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.contract.labels import labels
from modelyard.core.controllers import CONTROLLERS
from modelyard.core.plan import Plan
from modelyard.kube.cache import Cache
from modelyard.kube.errors import NotFound
from modelyard.runtime.executor import Executor, Written
from modelyard.runtime.failures import Again

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DATASET = next(c for c in CONTROLLERS if c.kind == "Dataset")


class Server:
    """An API server that knows these Datasets; creates are counted."""

    def __init__(self, *datasets: dict[str, Any]) -> None:
        self._datasets = {d["metadata"]["name"]: d for d in datasets}
        self.created: list[str] = []

    async def get(self, kind: Any, namespace: str, name: str) -> Any:
        if name not in self._datasets:
            raise NotFound(f"no {name}")
        return self._datasets[name]

    async def create(self, kind: Any, manifest: Any) -> Any:
        self.created.append(manifest["metadata"]["name"])
        return seen(manifest, 9, uid="job-2")


def seen(manifest: Any, version: int, **metadata: Any) -> dict[str, Any]:
    more = {"resourceVersion": str(version), **metadata}
    return {**manifest, "metadata": {**manifest["metadata"], **more}}


def dataset(**metadata: Any) -> dict[str, Any]:
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Dataset", "spec": {}}
    body["metadata"] = {"name": "shelf", "namespace": "shop", "generation": 1}
    return seen(body, 1, **{"uid": "u", **metadata})


def job() -> dict[str, Any]:
    own = labels(component="dataset", owner_name="shelf", owner_uid="u")
    metadata = {"name": "shelf-data", "namespace": "shop", "labels": own}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


async def again(server: Server) -> None:
    """The Job has been seen to come and to go, and is to be made once more."""
    cache = Cache(["Dataset", "Job"])
    cache.put("Dataset", dataset())
    cache.put("Job", seen(job(), 2, uid="job-1"))
    cache.drop("job-1")
    api: Any = server
    executor = Executor(
        api, cache, leading=lambda: True, absorb=cache.put, vanish=cache.drop, instance="one"
    )
    await executor.run(DATASET, dataset(), Plan(create=(job(),)), NOW, Written())


@pytest.mark.parametrize(
    "owner", [(), (dataset(uid="namesake"),), (dataset(deletionTimestamp="2026-11-22T00:00:00Z"),)]
)
async def test_not_for_an_owner_whose_end_was_not_seen_yet(owner: Any) -> None:
    server = Server(*owner)
    with pytest.raises(Again, match="Dataset shop/shelf"):
        await again(server)
    assert server.created == []


async def test_for_an_owner_that_lives() -> None:
    server = Server(dataset())
    await again(server)
    assert server.created == ["shelf-data"]
