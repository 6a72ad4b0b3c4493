"""Which objects are looked at again when something changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from modelyard.api.base import API_VERSION
from modelyard.core.plan import AggregateKind, Apply, Controller, Key, KubeObject, Plan, View
from modelyard.kube.cache import Cache, Change
from modelyard.runtime.routing import Router


def users(obj: KubeObject, _: View) -> Iterable[Key]:
    yield Key("Dataset", obj["metadata"]["namespace"], obj["spec"]["dataset"])


def controllers() -> tuple[Controller, ...]:
    def decide(*_: Any) -> Plan:
        return Apply()

    return (
        Controller(
            "Dataset",
            observe=lambda *_: None,
            decide=decide,
            children=("Job",),
            triggers={"TrainingJob": users},
        ),
        Controller("TrainingJob", observe=lambda *_: None, decide=decide, children=("Job",)),
    )


def router() -> Router:
    made = controllers()
    return Router(made, Cache(Router.watched(made)))


def thing(name: str, **more: Any) -> dict[str, Any]:
    owner = more.pop("owner", None)
    kind, _, of = (owner or "").partition("/")
    references = [
        {"apiVersion": API_VERSION, "kind": kind, "name": of, "uid": "o", "controller": True}
    ]
    metadata = {"namespace": "ns", "name": name, "ownerReferences": references if owner else []}
    return {"metadata": metadata, **more}


def test_watched_kinds_are_all_that_is_named() -> None:
    assert Router.watched(controllers()) == ("Dataset", "Job", "TrainingJob")


def test_a_child_leads_to_its_owner_of_the_right_kind() -> None:
    job = thing("j", owner="TrainingJob/t")
    assert list(router().keys(Change("Job", None, job, True))) == [Key("TrainingJob", "ns", "t")]
    stranger = thing("j", owner="Deployment/d")
    assert not list(router().keys(Change("Job", None, stranger, True)))
    assert not list(router().keys(Change("Job", None, thing("j"), True)))


def test_a_deleted_child_leads_to_its_owner() -> None:
    job = thing("j", owner="Dataset/d")
    assert list(router().keys(Change("Job", job, None, True))) == [Key("Dataset", "ns", "d")]


def test_a_repointed_object_leads_to_both_ends() -> None:
    old, new = thing("t", spec={"dataset": "a"}), thing("t", spec={"dataset": "b"})
    keys = set(router().keys(Change("TrainingJob", old, new, True)))
    assert keys == {
        Key("TrainingJob", "ns", "t"),
        Key("Dataset", "ns", "a"),
        Key("Dataset", "ns", "b"),
    }


def test_a_mapping_that_fails_stops_nothing_else() -> None:
    broken = thing("t", spec={})
    keys = list(router().keys(Change("TrainingJob", None, broken, True)))
    assert keys == [Key("TrainingJob", "ns", "t")]


class Nothing:
    """An aggregate of no interest."""

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        return ()

    drop = put


def debouncing(debounce: Any) -> tuple[Controller, ...]:
    return (
        Controller(
            "Deployment",
            observe=lambda *_: None,
            decide=lambda *_: Apply(),
            children=("Service",),
            aggregates={
                "fleets": AggregateKind(("Deployment", "Pod", "Node"), lambda _: Nothing())
            },
            debounce=debounce,
        ),
    )


def test_kinds_of_aggregates_are_watched() -> None:
    assert Router.watched(debouncing(None)) == ("Deployment", "Service", "Pod", "Node")


def test_a_change_that_others_follow_waits_as_its_controller_says() -> None:
    made = debouncing(lambda view, key: 0.25 if key.name == "big" else 0.0)
    routes = Router(made, Cache(Router.watched(made)))
    assert routes.delay(Key("Deployment", "ns", "big")) == 0.25
    assert routes.delay(Key("Deployment", "ns", "small")) == 0
    assert routes.delay(Key("Dataset", "ns", "big")) == 0


def test_an_unknown_wait_is_none(caplog: pytest.LogCaptureFixture) -> None:
    made = debouncing(lambda view, key: view.answer("x").value)
    routes = Router(made, Cache(Router.watched(made)))
    assert routes.delay(Key("Deployment", "ns", "d")) == 0
    assert "Deployment ns/d" in caplog.text
