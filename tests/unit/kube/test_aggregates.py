"""Aggregates see every change that the cache takes in, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from modelyard.core.plan import AggregateKind, Key, KubeObject
from modelyard.kube.cache import Cache


class Ready:
    """Ready pods by namespace: what an aggregate typically keeps."""

    def __init__(self) -> None:
        self.ready: dict[str, str] = {}
        self.seen: list[str] = []

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        name = obj["metadata"]["name"]
        self.seen.append(f"put {kind} {name}")
        self.ready[name] = obj["status"]["phase"]
        yield Key("Deployment", "ns", f"of-{obj['metadata']['uid']}")

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        name = obj["metadata"]["name"]
        self.seen.append(f"drop {kind} {name}")
        del self.ready[name]
        return [Key("Deployment", "ns", f"of-{obj['metadata']['uid']}")]


def pod(
    name: str, version: int, *, uid: str = "u", phase: str | None = "Running"
) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    status = {} if phase is None else {"phase": phase, "hostIP": "10.0.0.1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


@pytest.fixture
def cache() -> Cache:
    return Cache(["Pod", "Job"], aggregates={"ready": AggregateKind(("Pod",), lambda _: Ready())})


def of(uid: str) -> Key:
    return Key("Deployment", "ns", f"of-{uid}")


def test_a_change_carries_what_must_be_looked_at(cache: Cache) -> None:
    change = cache.put("Pod", pod("a", 1))
    assert change is not None
    assert change.keys == {of("u")}
    assert cache.aggregate("ready").ready == {"a": "Running"}
    gone = cache.drop("u")
    assert gone is not None
    assert gone.keys == {of("u")}
    assert cache.aggregate("ready").ready == {}


def test_what_brings_nothing_new_is_not_told(cache: Cache) -> None:
    cache.put("Pod", pod("a", 5))
    cache.put("Pod", pod("a", 5))
    cache.put("Pod", pod("a", 4, phase="Pending"))
    cache.drop("unknown")
    assert cache.aggregate("ready").seen == ["put Pod a"]


def test_other_kinds_are_not_told(cache: Cache) -> None:
    change = cache.put("Job", pod("a", 5))
    assert change is not None
    assert change.keys == frozenset()
    assert cache.aggregate("ready").seen == []


def test_an_object_that_a_namesake_replaces_is_gone(cache: Cache) -> None:
    cache.put("Pod", pod("a", 1, uid="first"))
    change = cache.put("Pod", pod("a", 2, uid="second"))
    assert change is not None
    assert change.keys == {of("first"), of("second")}
    assert cache.aggregate("ready").seen == ["put Pod a", "drop Pod a", "put Pod a"]


def test_one_wrong_object_harms_no_other(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    assert cache.put("Pod", pod("wrong", 1, uid="w", phase=None)) is not None
    assert "aggregate 'ready' failed for Pod ns/wrong" in caplog.text
    assert cache.get("Pod", "ns", "wrong") is not None
    change = cache.put("Pod", pod("right", 2, uid="r"))
    assert change is not None
    assert change.keys == {of("r")}


def test_an_aggregate_sees_what_is_kept(cache: Cache) -> None:
    seen: list[KubeObject] = []

    class Note(Ready):
        def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
            seen.append(obj)
            return ()

    cache = Cache(["Pod"], aggregates={"note": AggregateKind(("Pod",), lambda _: Note())})
    cache.put("Pod", pod("a", 1))
    assert seen == [cache.get("Pod", "ns", "a")]
    assert "hostIP" not in seen[0]["status"]


def test_an_unknown_aggregate_is_an_error(cache: Cache) -> None:
    with pytest.raises(KeyError, match=r"Controller\.aggregates"):
        cache.aggregate("nope")


def test_each_cache_has_aggregates_of_its_own(cache: Cache) -> None:
    cache.put("Pod", pod("a", 1))
    other = Cache(["Pod"], aggregates={"ready": AggregateKind(("Pod",), lambda _: Ready())})
    assert other.aggregate("ready").ready == {}
