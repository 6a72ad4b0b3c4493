"""A rollout names who started it, and who did what in it, where the API server says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.api.rolloutstatus import RolloutRecord
from modelyard.core.deployment.history import MAX_BYTES, bounded

from .sim import BAD, Sim, error_rate
from .world import version

FOUR = ("a-1", "a-2", "b-1", "b-2")
HALT = {"steps": [{"weight": 25, "pause": {}}]}
ALICE, BOB = "alice@example.com", "bob@example.com"


def told(sim: Sim) -> dict[str, str]:
    """Messages of the events of the next decision, by reason."""
    return {event.reason: event.message for event in sim.look().events}


def halted(**rollout: Any) -> Sim:
    """Version 2 waits on one of four servers for a promote."""
    sim = Sim(*FOUR, rollout=HALT | rollout)
    sim.add(version(2))
    assert sim.run()["phase"] == "Paused"
    return sim


def test_a_new_version_names_nobody() -> None:
    sim = halted()
    sim.change(ALICE, server={})
    assert sim.status["rollout"]["trigger"] == "version 2 is Ready"
    assert "by" not in sim.status["rollout"]


@pytest.mark.parametrize(
    ("spec", "trigger"),
    [
        ({"version": {"policy": "Pinned", "number": 1}}, "spec.version pins version 1"),
        ({"pipeline": {"confidence": 0.5}}, "spec.pipeline has changed"),
        ({"server": {"resources": {"cpu": "2"}}}, "the spec of its server pods has changed"),
    ],
    ids=["pin", "pipeline", "server"],
)
def test_a_changed_spec_names_who_changed_it(spec: dict[str, Any], trigger: str) -> None:
    sim = Sim(*FOUR, rollout={})
    sim.add(version(2))
    sim.run()
    sim.change(ALICE, **spec)
    assert told(sim)["RolloutStarted"].endswith(f": {trigger}, by {ALICE}")
    sim.operate()
    assert (sim.status["rollout"]["trigger"], sim.status["rollout"]["by"]) == (trigger, ALICE)
    sim.run()
    assert (sim.status["history"][0]["trigger"], sim.status["history"][0]["by"]) == (trigger, ALICE)


def test_pods_that_the_operator_makes_anew_are_nobodys_change() -> None:
    sim = Sim(*FOUR, rollout={})
    sim.change(ALICE, rollout={"maxUnavailable": 2})
    sim.run()
    sim.settings = sim.settings.__class__(
        resources={
            **sim.settings.resources,
            "agent": {**sim.settings.resources["agent"], "cpu": "1"},
        }
    )
    sim.operate()
    rollout = sim.status["rollout"]
    assert rollout["trigger"] == "the operator's settings of server pods have changed"
    assert "by" not in rollout


def test_each_action_names_who_asked() -> None:
    sim = halted()
    sim.ask(ALICE, pause="1")
    sim.operate()
    assert sim.status["rollout"]["paused"]["by"] == ALICE
    assert sim.status["message"].startswith(f"the rollout of shelf-2 is paused by {ALICE}: ")
    sim.ask(BOB, resume="1")
    sim.operate()
    assert "by" not in sim.status["rollout"]["paused"], "the step's own pause is nobody's"
    sim.ask("system:serviceaccount:argocd:argocd-server", promote="step@1")
    assert sim.run()["phase"] == "Healthy"
    assert [(one["action"], one["by"]) for one in sim.status["history"][0]["actions"]] == [
        ("pause", ALICE),
        ("resume", BOB),
        ("promote", "system:serviceaccount:argocd:argocd-server"),
    ]
    assert "by" not in sim.status["history"][0]


def test_who_aborts_and_who_tries_again() -> None:
    sim = halted()
    sim.ask("system:serviceaccount:ci:deployer", abort="1")
    assert "service account ci/deployer aborted it" in told(sim)["Aborted"]
    sim.operate()
    assert "service account ci/deployer aborted it" in sim.status["rejected"]["message"]
    assert "service account ci/deployer aborted it" in sim.status["history"][0]["message"]
    sim.run()
    sim.ask(BOB, retry="1")
    sim.operate()
    rollout = sim.status["rollout"]
    assert (rollout["trigger"], rollout["by"]) == ("retry of shelf-2", BOB)
    assert "actions" not in rollout, "its trigger says it"


def test_who_goes_back() -> None:
    sim = halted()
    sim.ask(ALICE, promote="full")
    sim.run()
    sim.ask(BOB, rollback="1@now")
    sim.operate()
    assert sim.status["override"]["by"] == BOB
    rollout = sim.status["rollout"]
    assert (rollout["trigger"], rollout["by"]) == ("rollback to version 1", BOB)
    sim.run()
    sim.add(version(3))
    assert sim.run()["phase"] == "Paused"
    sim.ask(ALICE, rollback="2@now")
    assert told(sim)["Aborted"] == f"{ALICE} went back to shelf-2"


def test_a_failed_verdict_is_nobodys_doing() -> None:
    sim = Sim(*FOUR, rollout=HALT | {"analysis": error_rate()})
    sim.figures[2] = BAD
    sim.change(ALICE, server={})
    sim.add(version(2))
    assert sim.run()["phase"] == "Degraded"
    record = sim.status["history"][0]
    assert (record["outcome"], record["trigger"]) == ("RolledBack", "version 2 is Ready")
    assert "errors" in record["message"]
    assert "by" not in record


def test_without_names_nothing_is_invented() -> None:
    sim = halted()
    sim.ask(pause="1")
    sim.operate()
    assert sim.status["message"].startswith("the rollout of shelf-2 is paused: ")
    (action,) = sim.status["rollout"]["actions"]
    assert (action["action"], "by" in action) == ("pause", False)
    sim.ask(abort="1")
    sim.operate()
    assert "somebody aborted it" in sim.status["history"][0]["message"]


def test_a_name_is_written_once() -> None:
    sim = halted()
    sim.ask(ALICE, pause="1")
    sim.run()
    writes = len(sim.writes)
    for _ in range(3):
        sim.operate()
    assert len(sim.writes) == writes


def test_only_the_last_actions_are_kept() -> None:
    sim = halted()
    for number in range(9):
        sim.ask(ALICE, **{("pause", "resume")[number % 2]: str(number)})
        sim.operate()
    assert len(sim.status["rollout"]["actions"]) == 5


def shortened(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one.wire() for one in bounded([RolloutRecord.model_validate(r) for r in records])]


def test_long_names_do_not_let_the_history_grow() -> None:
    action = {"action": "promote", "by": "u" * 128, "at": "2026-11-22T12:00:00Z"}
    record = {
        "revision": 4711,
        "modelVersion": f"{'m' * 30}-2147483647",
        "version": 2147483647,
        "previous": 2147483646,
        "trigger": f"retry of {'m' * 30}-2147483647",
        "startedAt": "2026-11-22T12:00:00Z",
        "endedAt": "2026-11-22T12:00:00Z",
        "outcome": "Superseded",
        "servers": 100_000,
        "message": "é" * 240,
        "by": "u" * 128,
        "actions": [action] * 5,
    }
    kept = shortened([record] * 20)
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) <= MAX_BYTES + 1
    assert len(kept) == 20
    assert all(one["outcome"] == "Superseded" for one in kept)
    assert shortened([record] * 3) == [record] * 3, "few are kept whole"
    assert shortened(kept) == kept
    assert kept[-1].keys() == record.keys() - {"message", "by", "actions"}
