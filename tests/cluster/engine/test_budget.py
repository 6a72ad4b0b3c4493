"""What one object costs the others: a poisoned one is given up, and the Lease is not lost by it.

Real API server and CRDs; the operator is a process, with the engine's test controller or our own.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

GROUP = "/apis/modelyard.dev/v1alpha1"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.modelyard.dev"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/modelyard-operator"


def changes_of_the_lease(server: Any, operator: Any) -> tuple[int, int]:
    """How often it was acquired, and how often a term ended."""
    ends = operator.log.read_text().count("no longer leading")
    return server.get(LEASE)["spec"]["leaseTransitions"], ends


def seconds_until_ready(server: Any, space: str, wait: Any, name: str) -> float:
    started = time.monotonic()
    server.dataset(space, name)
    wait(lambda: server.phase(space, name) == "Ready", what=f"{name} is Ready", pause=0.02)
    return time.monotonic() - started


def test_decisions_without_an_end_cost_neither_the_lease_nor_the_others(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start(WORKERS="2")
    wait(operator.synced, what="leads")
    before = changes_of_the_lease(server, operator)
    for number in range(3):
        server.dataset(space, f"bad{number}", mode="endless")
    times = [seconds_until_ready(server, space, wait, f"good{n}") for n in range(5)]
    assert sorted(times)[2] < 1, times
    wait(lambda: all(server.stalled(space, f"bad{n}") for n in range(3)), what="Stalled")
    assert server.stalled(space, "bad0")["reason"] == "DecisionTooLong"
    assert changes_of_the_lease(server, operator) == before
    server.patch(space, "bad0", {"metadata": {"annotations": {"tests/mode": None}}})
    wait(lambda: server.phase(space, "bad0") == "Ready", 5, what="healed at once")


def test_the_lease_is_renewed_while_the_event_loop_is_busy(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start(LEASE_SECONDS="4")
    wait(operator.synced, what="leads")
    before = changes_of_the_lease(server, operator)
    server.dataset(space, "slow", mode="block")
    wait(lambda: operator.ask("/healthz") is None, what="the event loop is busy")
    renewed = server.get(LEASE)["spec"]["renewTime"]
    wait(lambda: server.get(LEASE)["spec"]["renewTime"] > renewed, 5, what="renewed meanwhile")
    wait(lambda: server.phase(space, "slow") == "Ready", what="Ready in the same term")
    assert changes_of_the_lease(server, operator) == before


def test_objects_stored_before_there_were_bounds_harm_only_themselves(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    crd = server.get(CRD)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    bound = spec["properties"]["hyperparameters"].pop("maxProperties")
    server.call("PUT", CRD, crd)
    jobs = f"{GROUP}/namespaces/{space}/trainingjobs"

    def create(name: str) -> int:
        job = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {
                "model": "yolo11n.yaml",
                "dataset": {"name": "shelf"},
                "output": {"modelLine": "shelf"},
                "hyperparameters": {f"epoch{i}": i for i in range(35_000)},
            },
        }
        return server.http.post(jobs, json=job).status_code

    for number in range(3):
        wait(lambda name=f"bad{number}": create(name) in (201, 409), what="stored without a bound")
    crd = server.get(CRD)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["hyperparameters"]["maxProperties"] = bound
    server.call("PUT", CRD, crd)
    wait(lambda: create("refused") == 422, what="the bound is in force")
    operator = start("operator", "-m", "modelyard.handlers")

    def told(name: str) -> str:
        found = server.get(f"{jobs}/{name}").get("status") or {}
        return str(found.get("message"))

    wait(lambda: "has 35000 entries" in told("bad2"), what="told what is wrong")
    assert "no longer leading" not in operator.log.read_text()
