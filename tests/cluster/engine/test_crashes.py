"""Killed, paused, doubled, cut off: the end state is the same."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

API_SERVER = "kube-apiserver"
SLOW = pytest.mark.skipif(
    "MODELYARD_SLOW_TESTS" not in os.environ, reason="set MODELYARD_SLOW_TESTS=1: takes a minute"
)


def uids(server: Any, space: str) -> dict[str, str]:
    items = server.get(f"/api/v1/namespaces/{space}/configmaps")["items"]
    return {o["metadata"]["name"]: o["metadata"]["uid"] for o in items}


def resource_versions(server: Any, space: str) -> dict[str, str]:
    """UID → resourceVersion of all Datasets and their children."""
    found = {}
    for path in ("/apis/modelyard.dev/v1alpha1", "/api/v1"):
        plural = "configmaps" if path == "/api/v1" else "datasets"
        for one in server.get(f"{path}/namespaces/{space}/{plural}")["items"]:
            found[one["metadata"]["uid"]] = one["metadata"]["resourceVersion"]
    return found


def stands_by(operator: Any) -> bool:
    """Whether a replica watches everything and leaves acting to another."""
    answer = operator.ask("/readyz")
    return answer is not None and (answer.status_code, answer.text) == (200, "standing by")


def test_killed_again_and_again(server: Any, space: str, start: Any, wait: Any) -> None:
    seen: dict[str, str] = {}
    for turn in range(4):
        for number in range(15):
            server.dataset(space, f"d{turn}-{number}")  # Work that no earlier turn has done.
        before = server.ready(space)
        operator = start(f"operator{turn}", IDENTITY="the-pod")
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
    lease = os.environ.get("LEASE_SECONDS", "10")  # What users have who set nothing.
    first = start("first", LEASE_SECONDS=lease)
    wait(first.synced, what="the first leads")
    second = start("second", LEASE_SECONDS=lease)
    wait(lambda: stands_by(second), what="the second stands by")
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    assert second.metric("modelyard_reconciles_total") == 0
    first.kill()
    killed = time.monotonic()
    server.dataset(space, "b")
    # The standby may see the last renewal a quarter of the Lease late, and again look a quarter
    # after it has run out.
    within = 1.5 * float(lease) + 15
    wait(lambda: server.phase(space, "b") == "Ready", within, what="failed over")
    print(f"failed over in {time.monotonic() - killed:.1f} s with a Lease of {lease} s")


def test_a_paused_leader_that_wakes_up_does_no_harm(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    first = start("first")
    wait(first.synced, what="the first leads")
    second = start("second")
    wait(lambda: stands_by(second), what="the second stands by")
    for number in range(40):
        server.dataset(space, f"d{number}")
    wait(lambda: server.ready(space) > 0, what="the first is at work")
    first.kill(signal.SIGSTOP)
    wait(lambda: server.ready(space) == 40, 20, what="the second took over")
    wait(second.idle, what="idle")
    versions = resource_versions(server, space)
    acted = second.metric("modelyard_reconciles_total")
    first.kill(signal.SIGCONT)
    wait(lambda: first.metric("modelyard_leading") == 0, 10, what="the first stands by")
    wrote = first.wrote()
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", what="Ready")
    assert second.metric("modelyard_reconciles_total") > acted
    assert first.wrote() == wrote, "it may look at what it missed, but not touch it"
    now = resource_versions(server, space)
    assert {uid: now.get(uid) for uid in versions} == versions, "what it was about to write"


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=SLOW)])
def test_the_api_server_goes_away_and_comes_back(
    server: Any, space: str, start: Any, wait: Any, seconds: float
) -> None:
    operator = start()
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    server.plane.processes.stop([API_SERVER])
    wait(lambda: operator.metric("modelyard_leading") == 0, 20, what="nothing is led meanwhile")
    gone = time.monotonic()
    wait(lambda: time.monotonic() - gone >= seconds, seconds + 10, what="the rest of the time")
    assert operator.ask("/healthz").status_code == 200, "a restart would not help"
    assert operator.metric("modelyard_lease_failures_total") > 0
    assert operator.log.read_text().count("cannot renew the Lease") < 5, "told, not repeated"
    server.plane.start()
    back = time.monotonic()
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 60, what="goes on")
    print(f"went on {time.monotonic() - back:.1f} s after the API server was back")
    wait(lambda: operator.ask("/readyz").text == "leading", what="all is watched again")
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
    took = time.monotonic() - stopped
    print(f"stopped in {took:.1f} s with {40 - server.ready(space)} of 40 objects not done")
    assert took < 5
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
