"""The cache: newest wins, the dead stay dead, objects are found by name, owner and index."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.kube.cache import DECODED, Cache


def thing(name: str, version: int, *, uid: str = "", **more: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "generation": more.pop("generation", 1),
        "labels": more.pop("labels", {}),
        "ownerReferences": [more.pop("owner")] if "owner" in more else [],
        "managedFields": [{"manager": "x" * 1000}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **more}


def reference(uid: str) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": uid, "controller": True}


@pytest.fixture
def cache() -> Cache:
    index = {("Pod", "node"): lambda obj: filter(None, [(obj.get("spec") or {}).get("nodeName")])}
    return Cache(["Pod", "Job"], index, keep_old=["Pod"])


def test_newest_version_wins_whatever_the_order(cache: Cache) -> None:
    assert cache.put("Pod", thing("a", 5, status={"phase": "Running"})) is not None
    assert cache.put("Pod", thing("a", 4, status={"phase": "Pending"})) is None
    assert cache.put("Pod", thing("a", 5, status={"phase": "Pending"})) is None
    found = cache.get("Pod", "ns", "a")
    assert found is not None
    assert found["status"]["phase"] == "Running"
    assert "managedFields" not in found["metadata"]


def test_versions_compare_as_numbers(cache: Cache) -> None:
    cache.put("Pod", thing("a", 9))
    assert cache.put("Pod", thing("a", 10)) is not None


def test_a_deleted_object_is_not_revived_by_a_late_answer(cache: Cache) -> None:
    cache.put("Pod", thing("a", 5))
    gone = cache.drop("uid-a")
    assert gone is not None
    assert gone.new is None
    assert gone.old is not None
    assert cache.put("Pod", thing("a", 6)) is None
    assert cache.get("Pod", "ns", "a") is None
    assert cache.drop("uid-a") is None


def test_a_recreated_object_replaces_its_namesake(cache: Cache) -> None:
    cache.put("Pod", thing("a", 5, uid="first"))
    change = cache.put("Pod", thing("a", 8, uid="second"))
    assert change is not None
    assert change.user_changed
    assert cache.put("Pod", thing("a", 7, uid="first")) is None
    found = cache.get("Pod", "ns", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "second"
    assert cache.count("Pod") == 1


def test_a_late_answer_about_the_first_does_not_replace_the_second(cache: Cache) -> None:
    cache.put("Pod", thing("a", 8, uid="second"))
    assert cache.put("Pod", thing("a", 5, uid="first")) is None
    found = cache.get("Pod", "ns", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "second"


def test_children_and_indexes_follow_changes(cache: Cache) -> None:
    def pods(uid: str, namespace: str = "ns") -> list[str]:
        found = cache.children({"metadata": {"namespace": namespace, "uid": uid}}, "Pod")
        return [pod["metadata"]["name"] for pod in found]

    cache.put("Pod", thing("a", 1, owner=reference("o1"), spec={"nodeName": "n1"}))
    cache.put("Pod", thing("b", 2, owner=reference("o1"), spec={"nodeName": "n2"}))
    assert pods("o1") == ["a", "b"]
    assert pods("o1", "another") == [], "a UID of another namespace is no claim"
    cache.put("Pod", thing("a", 3, owner=reference("o2"), spec={"nodeName": "n2"}))
    cache.put("Pod", thing("c", 4, owner=reference("o1") | {"controller": False}))
    cache.put("Pod", thing("d", 5, labels={"modelyard.dev/owner-uid": "o1"}))
    assert pods("o1") == ["b"]
    assert not list(cache.select("Pod", "ns", "node", "n1"))
    assert {p["metadata"]["name"] for p in cache.select("Pod", "ns", "node", "n2")} == {"a", "b"}
    cache.drop("uid-b")
    assert [p["metadata"]["name"] for p in cache.select("Pod", "ns", "node", "n2")] == ["a"]


def test_what_a_complete_list_did_not_show_has_vanished(cache: Cache) -> None:
    for version, name in enumerate("abc", start=10):
        cache.put("Pod", thing(name, version))
    assert cache.stale("Pod", {"uid-a"}, 11) == ["uid-b"], "c is newer than the list"


def test_change_tells_whether_the_spec_changed(cache: Cache) -> None:
    first = cache.put("Pod", thing("a", 1))
    status = cache.put("Pod", thing("a", 2))
    spec = cache.put("Pod", thing("a", 3, generation=2))
    assert [c.user_changed for c in (first, status, spec) if c] == [True, False, True]
    assert status is not None
    assert status.old is not None
    assert status.old["metadata"]["resourceVersion"] == "1"


def test_an_index_that_fails_keeps_nothing_out() -> None:
    cache = Cache(["Pod"], {("Pod", "bad"): lambda obj: [obj["spec"]["missing"]]})
    assert cache.put("Pod", thing("a", 1)) is not None
    assert cache.get("Pod", "ns", "a") is not None


def test_objects_beyond_the_decoded_ones_are_still_there(cache: Cache) -> None:
    for number in range(DECODED + 10):
        cache.put("Job", thing(f"j{number}", number + 1, data={"n": number}))
    found = cache.get("Job", "ns", "j0")
    assert found is not None
    assert found["data"] == {"n": 0}


@pytest.mark.parametrize("kind", ["Service", "Dataset"])
def test_a_kind_that_is_not_watched_is_an_error(cache: Cache, kind: str) -> None:
    with pytest.raises(KeyError, match="not watched"):
        cache.get(kind, "ns", "a")


def test_an_unknown_index_is_an_error(cache: Cache) -> None:
    with pytest.raises(KeyError, match=r"Controller\.indexes"):
        cache.select("Pod", "ns", "nope", "x")


def test_what_ended_is_known_by_name_until_it_is_made_again(cache: Cache) -> None:
    assert not cache.recently_deleted("Pod", "ns", "a")
    cache.put("Pod", thing("a", 5))
    cache.drop("uid-a")
    assert cache.recently_deleted("Pod", "ns", "a")
    assert not cache.recently_deleted("Job", "ns", "a")
    cache.put("Pod", thing("a", 7, uid="another"))
    assert not cache.recently_deleted("Pod", "ns", "a")
