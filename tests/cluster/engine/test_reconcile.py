"""From an object to its children and its status, with no write too many."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster


def test_object_child_status_event(server: Any, space: str, start: Any, wait: Any) -> None:
    server.dataset(space, "a")
    operator = start()
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    made = server.config_map(space, "a-made")
    assert made["data"] == {"born": "http://example.com/a.zip"}
    assert server.see(space, "a")["status"]["message"] == "2 children"
    events = wait(
        lambda: server.get(f"/apis/events.k8s.io/v1/namespaces/{space}/events")["items"],
        what="the event, which follows the status",
    )
    assert [(e["reason"], e["regarding"]["name"]) for e in events] == [("Ready", "a")]
    assert operator.ask("/healthz").text == "ok"
    assert operator.ask("/readyz").text == "leading"
    line = next(x for x in operator.log.read_text().splitlines() if '"reconciled"' in x)
    assert f'"namespace":"{space}","object":"a","generation":1' in line


def test_what_others_break_is_mended(server: Any, space: str, start: Any, wait: Any) -> None:
    start()
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    maps = f"/api/v1/namespaces/{space}/configmaps"
    first = server.config_map(space, "a-made")["metadata"]["uid"]
    server.call("DELETE", f"{maps}/a-made")
    wait(lambda: (server.config_map(space, "a-made") or {}).get("metadata", {}).get("uid")
         not in (None, first), what="made again")  # fmt: skip
    merge = {"Content-Type": "application/merge-patch+json"}
    server.call("PATCH", f"{maps}/a-kept", {"data": {"url": "wrong", "own": "stays"}}, **merge)
    wait(
        lambda: (
            server.config_map(space, "a-kept")["data"]
            == {"url": "http://example.com/a.zip", "own": "stays"}
        ),
        what="only our field is put back",
    )
    server.patch(space, "a", {"spec": {"source": {"http": {"url": "http://example.com/b.zip"}}}})
    wait(
        lambda: server.config_map(space, "a-kept")["data"]["url"] == "http://example.com/b.zip",
        what="follows the spec",
    )
    wait(lambda: server.see(space, "a")["status"]["observedGeneration"] == 2, what="generation")


def test_fields_that_pods_report_are_left_alone(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    start()
    server.dataset(space, "a")
    digest = "sha256:" + "0" * 64
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    server.patch(space, "a", {"status": {"digest": digest}}, "/status")
    server.patch(space, "a", {"spec": {"source": {"http": {"url": "http://example.com/b.zip"}}}})
    wait(lambda: server.see(space, "a")["status"]["observedGeneration"] == 2, what="generation")
    assert server.see(space, "a")["status"]["digest"] == digest


def test_delete_and_recreate(server: Any, space: str, start: Any, wait: Any) -> None:
    start()
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    server.patch(space, "a", {"metadata": {"annotations": {"tests/mode": "drop"}}})
    wait(lambda: server.phase(space, "a") == "Dropped", what="child deleted")
    assert server.config_map(space, "a-made") is None
    server.patch(space, "a", {"metadata": {"annotations": {"tests/mode": None}}})
    wait(lambda: server.phase(space, "a") == "Ready", what="child made again")


def test_restart_and_resync_write_nothing(server: Any, space: str, start: Any, wait: Any) -> None:
    operator = start()
    for number in range(30):
        server.dataset(space, f"d{number}")
    wait(lambda: server.ready(space) == 30, what="all Ready")
    wait(operator.idle, what="idle")
    operator.kill(15)
    assert operator.gone() == 0
    before = server.writes()
    again = start("again")
    wait(again.idle, what="idle after the restart")
    listed = again.metric("modelyard_reconciles_total")
    assert listed >= 30
    again.resync()
    wait(
        lambda: again.metric("modelyard_reconciles_total") >= 2 * listed and again.idle(),
        what="a resync",
    )
    assert server.writes() == before
    assert again.metric("modelyard_cache_repairs_total") == server_objects(again)


def server_objects(operator: Any) -> float:
    """The first list counts every object as a repair of an empty cache; later ones none."""
    return float(operator.metric("modelyard_cache_objects"))


def test_objects_that_vanished_meanwhile_are_forgotten(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start()
    for name in ("a", "b"):
        server.dataset(space, name)
    wait(lambda: server.ready(space) == 2, what="Ready")
    operator.kill()
    operator.gone()
    server.call("DELETE", f"/apis/modelyard.dev/v1alpha1/namespaces/{space}/datasets/a")
    server.call("DELETE", f"/api/v1/namespaces/{space}/configmaps/b-made")
    start("again")
    wait(lambda: server.config_map(space, "b-made"), what="made again")
    assert server.see(space, "a") is None


def test_a_requeue_comes(server: Any, space: str, start: Any, wait: Any) -> None:
    operator = start()
    server.dataset(space, "a", mode="tick")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    wait(operator.idle, what="between two ticks")
    started = time.monotonic()
    before = operator.metric("modelyard_reconciles_total")
    wait(lambda: operator.metric("modelyard_reconciles_total") >= before + 3, what="three ticks")
    assert time.monotonic() - started > 1.5, "ticks are a second apart"
