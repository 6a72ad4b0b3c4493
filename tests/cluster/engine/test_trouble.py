"""A wrong object harms only itself, and says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.cluster


def test_a_poisoned_object_stalls_and_delays_nobody(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    # A busy machine is no reason to lose the Lease: a new term would try everything at once.
    operator = start(WORKERS="2", LEASE_SECONDS="60")
    for number in range(4):
        server.dataset(space, f"bad{number}", mode="poison")
    wait(lambda: all(server.stalled(space, f"bad{n}") for n in range(4)), what="Stalled")
    for number in range(20):
        server.dataset(space, f"good{number}")
    wait(lambda: server.ready(space) == 20, what="the others are Ready")
    assert operator.metric("modelyard_stalled_objects") == 4
    assert operator.metric("modelyard_retrying_objects") == 4
    condition = server.stalled(space, "bad0")
    assert condition["reason"] == "InternalError"
    assert "RuntimeError: poisoned by the test" in condition["message"]
    wait(operator.idle, what="idle")
    writes = server.writes()
    tries = operator.metric("modelyard_reconciles_total")
    wait(lambda: operator.metric("modelyard_reconciles_total") >= tries + 4, what="tried again")
    assert server.writes() == writes, "saying the same again takes no write"
    assert operator.log.read_text().count("Traceback") == 4, "one traceback an object"
    server.patch(space, "bad0", {"metadata": {"annotations": {"tests/mode": None}}})
    wait(lambda: server.phase(space, "bad0") == "Ready", 5, what="healed at once")
    assert server.stalled(space, "bad0") is None
    wait(lambda: operator.metric("modelyard_stalled_objects") == 3, what="one less to see to")


def test_a_refused_child_is_told(server: Any, space: str, start: Any, wait: Any) -> None:
    start()
    server.dataset(space, "a", mode="refused")
    condition = wait(lambda: server.stalled(space, "a"), what="Stalled")
    assert condition["reason"] == "Refused"
    assert "a-kept" in condition["message"]
    server.patch(space, "a", {"metadata": {"annotations": {"tests/mode": None}}})
    wait(lambda: server.phase(space, "a") == "Ready", 5, what="healed at once")


@pytest.mark.parametrize("suffix", ["made", "kept"])
def test_a_name_that_is_taken_is_not_overwritten(
    server: Any, space: str, start: Any, wait: Any, suffix: str
) -> None:
    maps = f"/api/v1/namespaces/{space}/configmaps"
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"a-{suffix}"},
        "data": {"precious": "yes"},
    }
    server.call("POST", maps, foreign)
    start()
    server.dataset(space, "a")
    condition = wait(lambda: server.stalled(space, "a"), what="Stalled")
    assert condition["reason"] == "NameTaken"
    assert f"{space}/a-{suffix} exists and belongs to somebody else" in condition["message"]
    assert server.config_map(space, f"a-{suffix}")["data"] == {"precious": "yes"}
    server.call("DELETE", f"{maps}/a-{suffix}")
    wait(lambda: server.phase(space, "a") == "Ready", 60, what="goes on once the name is free")
    assert server.stalled(space, "a") is None
