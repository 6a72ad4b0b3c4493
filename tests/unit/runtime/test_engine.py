"""What becomes due, and when, after a change of an object that an aggregate takes in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from modelyard.contract.labels import MANAGED_BY, MANAGER
from modelyard.core.plan import AggregateKind, Apply, Controller, Create, Key, KubeObject, Plan
from modelyard.runtime.engine import Engine
from modelyard.runtime.leadership import Leadership
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.settings import EngineSettings

FLEET = Key("Deployment", "ns", "fleet")
SETTLE = 30.0


class Pods:
    """Every change concerns the one Deployment."""

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        return (FLEET,)

    drop = put


class Leading(Engine):
    """Leads without a Lease."""

    leading = True


def engine() -> Engine:
    controller = Controller(
        "Deployment",
        observe=lambda *_: None,
        decide=lambda *_: Apply(),
        aggregates={"pods": AggregateKind(("Deployment", "Pod"), lambda _: Pods())},
        debounce=lambda view, key: SETTLE,
    )
    nothing: Any = None
    return Leading(
        (controller,),
        EngineSettings(),
        nothing,
        Metrics(),
        lease_api=nothing,
        lease_thread=nothing,
    )


def thing(name: str, version: int, generation: int = 1) -> dict[str, Any]:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"metadata": metadata, "spec": {}, "status": {}}


class Written:
    """An API server that does every write at once."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    async def create(self, _: Any, manifest: KubeObject) -> dict[str, Any]:
        return self._done("create", manifest)

    async def patch_status(
        self, kind: Any, namespace: str, name: str, patch: KubeObject
    ) -> dict[str, Any]:
        return self._done("status", thing(name, 0) | {"status": patch["status"]})

    def _done(self, verb: str, obj: KubeObject) -> dict[str, Any]:
        self.verbs.append(verb)
        version = str(1_000 + len(self.verbs))
        own = {"uid": f"uid-{obj['metadata']['name']}", "resourceVersion": version}
        return {**obj, "metadata": {**obj["metadata"], **own}}


def one_job(job_and_name: tuple[KubeObject | None, str], _: Any) -> Plan:
    """A Job, and a status that tells of it."""
    job, name = job_and_name
    if job is not None:
        return Apply(status={"phase": "Running"})
    metadata = {
        "namespace": "ns",
        "name": f"{name}-job",
        "labels": {MANAGED_BY: MANAGER},
        "ownerReferences": [
            {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "TrainingJob",
                "name": name,
                "uid": f"uid-{name}",
                "controller": True,
            }
        ],
    }
    return Create(({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata},))


async def test_all_jobs_of_a_burst_come_before_the_statuses_that_tell_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Leadership, "may_write", lambda self: True)
    controller = Controller(
        "TrainingJob",
        observe=lambda view, obj, settings: (
            view.get("Job", "ns", f"{obj['metadata']['name']}-job"),
            obj["metadata"]["name"],
        ),
        decide=one_job,
        children=("Job",),
    )
    api: Any = Written()
    nothing: Any = None
    made = Leading(
        (controller,),
        EngineSettings(),
        api,
        Metrics(),
        lease_api=api,
        lease_thread=nothing,
    )
    for number in range(40):
        made.on_event("TrainingJob", "ADDED", thing(f"t{number}", 1 + number))
    workers = [asyncio.create_task(made._work()) for _ in range(4)]
    async with asyncio.timeout(10):
        while len(api.verbs) < 80:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    for worker in workers:
        worker.cancel()
    assert api.verbs == ["create"] * 40 + ["status"] * 40


async def test_what_an_aggregate_says_waits_for_more() -> None:
    made = engine()
    made.on_event("Pod", "ADDED", thing("a", 1))
    made.on_event("Pod", "ADDED", thing("b", 2))
    made.on_event("Pod", "DELETED", thing("a", 3))
    assert len(made.queue) == 1
    assert made.queue.due() == 0


async def test_a_new_spec_does_not_wait() -> None:
    made = engine()
    made.on_event("Pod", "ADDED", thing("a", 1))
    made.on_event("Deployment", "ADDED", thing("fleet", 2))
    assert made.queue.pop() == FLEET
    assert len(made.queue) == 0


async def test_decisions_see_the_aggregate_and_answers() -> None:
    made = engine()
    assert isinstance(made.cache.aggregate("pods"), Pods)
    assert made.cache.answer("up") is None
    assert made.kinds == ("Deployment", "Pod")
    await made.queries.close()
