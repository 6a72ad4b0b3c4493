"""What becomes due, and when, after a change of an object that an aggregate takes in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelyard.core.plan import AggregateKind, Apply, Controller, Key, KubeObject
from modelyard.runtime.engine import ROUNDS, Engine
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
    api: Any = None
    return Leading((controller,), EngineSettings(), api, Metrics())


def thing(name: str, version: int, generation: int = 1) -> dict[str, Any]:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"metadata": metadata, "spec": {}, "status": {}}


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


async def test_regular_resyncs_reconcile_every_object_once_in_so_many_rounds() -> None:
    made = engine()
    names = [f"d{number}" for number in range(60)]
    for version, name in enumerate(names, start=1):
        made.on_event("Deployment", "ADDED", thing(name, version))
    parts = [made.next_part() for _ in range(ROUNDS)]
    assert sorted(key.name for part in parts for key in part) == sorted(names)
    assert max(len(part) for part in parts) < len(names) / 2
    assert made.next_part() == parts[0]
