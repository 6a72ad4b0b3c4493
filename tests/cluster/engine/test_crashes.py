"""Killed, paused, doubled, cut off: the end state is the same."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

API_SERVER = "kube-apiserver"


def uids(server: Any, space: str) -> dict[str, str]:
    items = server.get(f"/api/v1/namespaces/{space}/configmaps")["items"]
    return {o["metadata"]["name"]: o["metadata"]["uid"] for o in items}


def test_killed_again_and_again(server: Any, space: str, start: Any, wait: Any) -> None:
    for number in range(60):
        server.dataset(space, f"d{number}")
    seen: dict[str, str] = {}
    for turn in range(4):
        operator = start(f"operator{turn}", IDENTITY="the-pod")
        before = server.ready(space)
        wait(lambda before=before: server.ready(space) > before, what="progress")
        operator.kill()
        operator.gone()
        now = uids(server, space)
        assert {name: now.get(name) for name in seen} == seen, "children are made once"
        seen = now
    last = start("last", IDENTITY="the-pod")
    wait(lambda: server.ready(space) == 60, 60, what="all Ready")
    wait(last.idle, what="idle")
    assert len(uids(server, space)) == 120
    assert {name: uids(server, space)[name] for name in seen} == seen


def test_two_replicas_never_both_act(server: Any, space: str, start: Any, wait: Any) -> None:
    first = start("first")
    wait(first.synced, what="the first leads")
    second = start("second")
    wait(lambda: second.ask("/readyz") is not None and second.ask("/readyz").status_code == 200)
    assert second.ask("/readyz").text == "standing by"
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    assert second.metric("modelyard_reconciles_total") == 0
    first.kill()
    killed = time.monotonic()
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 15, what="failed over")
    print(f"failed over in {time.monotonic() - killed:.1f} s with a Lease of 4 s")


def test_a_paused_leader_that_wakes_up_does_no_harm(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    first = start("first")
    wait(first.synced, what="the first leads")
    second = start("second")
    first.kill(signal.SIGSTOP)
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", 20, what="the second took over")
    acted = second.metric("modelyard_reconciles_total")
    first.kill(signal.SIGCONT)
    wait(lambda: first.metric("modelyard_leading") == 0, 10, what="the first stands by")
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", what="Ready")
    assert second.metric("modelyard_reconciles_total") > acted
    assert first.wrote() == 0, "it may look at what it missed, but not touch it"


def test_the_api_server_goes_away_and_comes_back(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start()
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    server.plane.processes.stop([API_SERVER])
    wait(lambda: operator.metric("modelyard_leading") == 0, 20, what="nothing is led meanwhile")
    assert operator.ask("/healthz").status_code == 200, "a restart would not help"
    server.plane.start()
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 60, what="goes on")
    assert operator.process.poll() is None


def test_stops_gracefully_with_work_in_flight(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start()
    wait(operator.synced, what="leads")
    for number in range(40):
        server.dataset(space, f"d{number}")
    operator.kill(signal.SIGTERM)
    stopped = time.monotonic()
    assert operator.gone(10) == 0
    assert time.monotonic() - stopped < 5
    lease = server.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/modelyard-operator")
    assert lease["spec"]["holderIdentity"] == ""
    begun = time.monotonic()
    again = start("again")
    wait(again.synced, what="the next need not wait for the Lease")
    print(f"synced {time.monotonic() - begun:.1f} s after its start")
    wait(lambda: server.ready(space) == 40, what="all Ready")


def test_a_lost_watch_misses_nothing(server: Any, space: str, start: Any, wait: Any) -> None:
    operator = start(LEASE_SECONDS="300")  # It leads throughout: only the watch is lost.
    for name in ("a", "b"):
        server.dataset(space, name)
    wait(lambda: server.ready(space) == 2, what="Ready")
    wait(operator.idle, what="idle")
    restarts = operator.metric("modelyard_watch_restarts_total")
    operator.kill(signal.SIGSTOP)
    server.plane.processes.stop([API_SERVER])
    server.plane.start()
    first = server.config_map(space, "a-made")["metadata"]["uid"]
    server.call("DELETE", f"/api/v1/namespaces/{space}/configmaps/a-made")
    server.call("DELETE", f"/apis/modelyard.dev/v1alpha1/namespaces/{space}/datasets/b")
    server.dataset(space, "c")
    operator.kill(signal.SIGCONT)
    wait(lambda: server.phase(space, "c") == "Ready", 60, what="what came meanwhile is seen")
    made = wait(lambda: server.config_map(space, "a-made"), what="what went meanwhile is seen")
    assert made["metadata"]["uid"] != first
    wait(operator.idle, what="idle")
    assert operator.metric("modelyard_watch_restarts_total") > restarts
    cached = operator.ask("/metrics").text
    datasets = server.get("/apis/modelyard.dev/v1alpha1/datasets")["items"]
    assert f'modelyard_cache_objects{{kind="Dataset"}} {len(datasets)}.0' in cached
