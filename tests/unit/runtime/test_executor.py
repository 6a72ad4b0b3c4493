"""How plans are carried out: children that have ended, and children that are many."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.contract.labels import labels
from modelyard.core.controllers import CONTROLLERS
from modelyard.core.plan import Apply, Create, Plan, Ref
from modelyard.kube.cache import Cache
from modelyard.kube.errors import Invalid, NotFound, TooManyRequests, Unreachable
from modelyard.runtime.executor import CONCURRENT_WRITES, Executor
from modelyard.runtime.failures import NotLeading, Outdated
from modelyard.runtime.writelog import LOGGED_WRITES, WriteLog

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
        api, cache, leading=lambda: True, put=cache.put, drop=cache.drop, instance="one"
    )
    await executor.run(DATASET, dataset(), Create((job(),)), NOW, WriteLog())


@pytest.mark.parametrize(
    "owner", [(), (dataset(uid="namesake"),), (dataset(deletionTimestamp="2026-11-22T00:00:00Z"),)]
)
async def test_not_for_an_owner_whose_end_was_not_seen_yet(owner: Any) -> None:
    server = Server(*owner)
    with pytest.raises(Outdated, match="Dataset shop/shelf"):
        await again(server)
    assert server.created == []


async def test_for_an_owner_that_lives() -> None:
    server = Server(dataset())
    await again(server)
    assert server.created == ["shelf-data"]


class Applying:
    """An API server that takes applies, a while each, and refuses what it is summary to."""

    def __init__(self, refused: dict[str, Exception] | None = None) -> None:
        self._refused = refused or {}
        self._version = itertools.count(100)
        self.applied: list[str] = []
        self.deleted: list[str] = []
        self.now = self.most = 0

    async def apply(self, kind: Any, manifest: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        name = manifest["metadata"]["name"]
        self.applied.append(name)
        if name in self._refused:
            raise self._refused[name]
        return seen(manifest, next(self._version), uid=f"uid-{name}")

    async def get(self, kind: Any, namespace: str, name: str) -> Any:
        raise NotFound(f"no {name}")

    async def patch_status(self, kind: Any, namespace: str, name: str, patch: Any) -> Any:
        self.applied.append("status")
        if "status" in self._refused:
            raise self._refused["status"]
        return seen({**dataset(), "status": patch["status"]}, next(self._version), uid="u")

    async def delete(self, kind: Any, namespace: str, name: str, uid: str | None) -> Any:
        self.applied.append(f"delete {name}")
        self.deleted.append(f"{kind.path(namespace, name)} {uid}")


def children(count: int) -> tuple[dict[str, Any], ...]:
    own = labels(component="dataset", owner_name="shelf", owner_uid="u")
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"s{number}", "namespace": "shop", "labels": own},
            "spec": {"ports": [{"port": 80}]},
        }
        for number in range(count)
    )


class Scene:
    """An executor on an API server, with the cache between them."""

    def __init__(self, server: Applying) -> None:
        self.cache = Cache(["Dataset", "Service", "Pod"])
        self.cache.put("Dataset", dataset())
        self.leading = True
        self.writes = WriteLog()
        api: Any = server
        self._executor = Executor(
            api,
            self.cache,
            leading=lambda: self.leading,
            put=self.cache.put,
            drop=self.cache.drop,
            instance="one",
        )

    async def run(self, plan: Plan) -> None:
        await self._executor.run(DATASET, dataset(), plan, NOW, self.writes)


async def test_many_children_are_applied_several_at_the_same_time() -> None:
    server = Applying()
    scene = Scene(server)
    await scene.run(Apply(apply=children(1), apply_unordered=children(40)[1:]))
    assert server.applied[0] == "s0"
    assert sorted(server.applied) == sorted(f"s{n}" for n in range(40))
    assert 1 < server.most <= CONCURRENT_WRITES
    assert scene.cache.count("Service") == 40


async def test_children_that_are_as_wanted_are_not_applied_again() -> None:
    server = Applying()
    scene = Scene(server)
    await scene.run(Apply(apply_unordered=children(40)))
    await scene.run(Apply(apply_unordered=children(41)))
    assert len(server.applied) == 41


async def test_a_refused_child_does_not_keep_others_from_being_applied() -> None:
    server = Applying({"s3": Invalid("first"), "s9": Invalid("second")})
    scene = Scene(server)
    ref = Ref("v1", "Pod", "shop", "p", "pod-1")
    with pytest.raises(Invalid, match="first"):
        await scene.run(Apply(apply_unordered=children(40), delete=(ref,)))
    assert len(server.applied) == 40
    assert server.deleted == []


@pytest.mark.parametrize("error", [Unreachable("away"), TooManyRequests("wait"), NotLeading()])
async def test_what_the_next_would_meet_too_ends_it(error: Exception) -> None:
    server = Applying({"s3": error})
    with pytest.raises(type(error)):
        await Scene(server).run(Apply(apply_unordered=children(400)))
    assert len(server.applied) <= 2 * CONCURRENT_WRITES


async def test_nothing_is_spread_once_the_lease_is_lost() -> None:
    server = Applying()
    scene = Scene(server)
    scene.leading = False
    with pytest.raises(NotLeading):
        await scene.run(Apply(apply_unordered=children(40)))
    assert server.applied == []


@pytest.mark.parametrize(
    ("first", "order"),
    [
        pytest.param(True, ["s0", "status", "s1", "delete p"], id="a decision is kept, then done"),
        pytest.param(False, ["s0", "s1", "delete p", "status"], id="else what is done is summary"),
    ],
)
async def test_the_status_has_its_place_among_the_writes(first: bool, order: list[str]) -> None:
    server = Applying()
    one, other = children(2)
    ref = Ref("v1", "Pod", "shop", "p", "pod-1")
    plan = Apply((one,), (other,), delete=(ref,), status={"phase": "Ready"}, status_first=first)
    await Scene(server).run(plan)
    assert server.applied == order


async def test_nothing_is_done_of_a_decision_that_could_not_be_kept() -> None:
    server = Applying({"status": Invalid("no")})
    plan = Apply(apply_unordered=children(3), status={"phase": "Ready"}, status_first=True)
    with pytest.raises(Invalid):
        await Scene(server).run(plan)
    assert server.applied == ["status"]


async def test_the_log_names_only_some_of_many_writes() -> None:
    scene = Scene(Applying())
    await scene.run(Apply(apply_unordered=children(500)))
    summary = scene.writes.summary()
    assert len(summary) == LOGGED_WRITES + 1
    assert summary[-1] == f"and {500 - LOGGED_WRITES} more"


async def test_a_pod_is_deleted_by_its_uid() -> None:
    server = Applying()
    scene = Scene(server)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    scene.cache.put("Pod", seen(pod, 5, uid="pod-1"))
    await scene.run(Apply(delete=(Ref("v1", "Pod", "shop", "p", "its-namesake"),)))
    assert server.deleted == []
    await scene.run(Apply(delete=(Ref("v1", "Pod", "shop", "p", "pod-1"),)))
    assert server.deleted == ["/api/v1/namespaces/shop/pods/p pod-1"]
    assert scene.cache.get("Pod", "shop", "p") is None
