"""A rollout as it is drawn: every line that a person reads."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from modelyard.cli import rolloutdraw
from modelyard.cli.rollouttables import Layout, bar
from modelyard.cli.rolloutview import Failure, ended, outcome_of, view

from .rollouts import (
    COUNTS,
    HISTORY,
    NOW,
    POOLS,
    at,
    deployment,
    metric,
    rolling,
    state,
    version,
)


def drawn(obj: dict[str, Any], *failures: Failure, width: int = 100) -> list[str]:
    layout = Layout(NOW, width=width, bars=False, zone=UTC)
    return rolloutdraw.plain(view(obj, tuple(failures)), layout).splitlines()


def section(lines: list[str], begins: str) -> list[str]:
    """The lines from the one that begins so to the next empty one."""
    start = next(i for i, line in enumerate(lines) if line.strip().startswith(begins))
    return lines[start : [*lines[start:], ""].index("") + start]


def test_a_step_that_is_going_on() -> None:
    lines = drawn(rolling())
    assert lines[:11] == [
        "cameras  Progressing  shelf-4 → shelf-5",
        "  namespace vision, model line shelf, edge nodes camera=true",
        "  rollout 7: shelf-5 is the highest Ready version, started 24m10s ago",
        "  312 of 1,240 servers of pool north have switched to shelf-5",
        "",
        "  ✔ prestage        fetch and verify, 10 % at a time",
        "  ✔ shadow          10 % of requests on 10 % of servers for 10m; checks agreement",
        "  ✔ 1 % of servers  pause 10m",
        "  ✔ pool lab        until promoted",
        "  ● pool north      312 of 1,240  for 1m35s",
        "  ○ all servers",
    ]
    assert section(lines, "UPDATED") == [
        "             UPDATED     OF  READY  OFFLINE  FAILED",
        "  servers        340  5,000  4,896      104       2",
        "  lab             28     28",
        "  north          312  1,240              60       2",
        "  south            0  3,732              44",
    ]


def test_stages_before_the_first_step() -> None:
    lines = drawn(rolling("Prestage", None, target=4896, done=120))
    assert section(lines, "● prestage")[:3] == [
        "  ● prestage        120 of 4,896  for 1m35s  fetch and verify, 10 % at a time",
        "  ○ shadow          10 % of requests on 10 % of servers for 10m; checks agreement",
        "  ○ 1 % of servers  pause 10m",
    ]


def test_pools_mean_nothing_to_a_cluster() -> None:
    obj = rolling("Step", 2)
    obj["spec"]["target"] = {"cluster": {"replicas": 3}}
    lines = drawn(obj)
    assert "target cluster, replicas 3" in lines[1]
    assert not [line for line in lines if "pool lab" in line]
    assert "  ● all servers     312 of 1,240  for 1m35s" in lines


def test_a_spec_that_was_changed_meanwhile_leads_to_the_last_stage() -> None:
    obj = rolling("Step", 9)
    assert [s.state for s in view(obj).stages][-1] == "Running"


def test_what_a_pause_waits_for() -> None:
    lines = drawn(
        rolling("Step", 2, target=28, done=28, paused={"reason": "Step", "since": at(300)})
    )
    assert lines[0] == "cameras  Paused  shelf-4 → shelf-5"
    assert lines[3:6] == [
        "  ‖ waits for a promote, for 5m now",
        "    modelyard rollout promote cameras   continues",
        "    modelyard rollout abort cameras     goes back to shelf-4",
    ]
    assert "  ‖ pool lab        28 of 28  for 1m35s  until promoted" in lines


@pytest.mark.parametrize(
    ("paused", "wanted"),
    [
        (
            {"reason": "Step", "since": at(60), "until": at(-252)},
            ["  ‖ paused until 10:04:12, 4m12s left", "promote cameras   continues now"],
        ),
        (
            {"reason": "Inconclusive", "since": at(60)},
            [
                "the analysis is inconclusive",
                "promote cameras   continues",
                "resume cameras    measures again",
            ],
        ),
        (
            {"reason": "Requested", "since": at(60)},
            ["paused by request", "resume cameras   continues"],
        ),
        ({"reason": "Spec", "since": at(60)}, ["spec.rollout.paused is true", "set it to false"]),
    ],
)
def test_every_pause_says_how_it_ends(paused: dict[str, str], wanted: list[str]) -> None:
    text = "\n".join(drawn(rolling("Step", 1, paused=paused)))
    for one in wanted:
        assert one in text


def test_figures_against_their_bounds() -> None:
    analysis = {
        "phase": "Running",
        "startedAt": at(40),
        "metrics": [
            metric("errors", "Successful", value=0.0012, samples=123456, successful=3),
            metric("p95", value=16.123, stable=14.1, bound="≤ 1.2 × stable (16.92)", failed=1),
            metric("boxes", inconclusive=2, samples=12, message="12 samples, 50 needed"),
        ],
    }
    assert section(drawn(rolling(analysis=analysis)), "analysis") == [
        "  analysis  running, for 40s",
        "               VALUE   STABLE  MUST BE                 SAMPLES  GOOD  BAD  UNCLEAR",
        "  ✔ errors    0.0012           ≤ 0.01                  123,456   3/3",
        "  ● p95     16.12 ms  14.1 ms  ≤ 1.2 × stable (16.92)            0/3    1",
        "  ● boxes          –           ≤ 0.01                       12   0/3             2",
        "      12 samples, 50 needed",
    ]


def test_failed_servers_and_how_many_more() -> None:
    lines = drawn(rolling(), Failure("cameras-17", "node-17", "out of memory"))
    assert section(lines, "failed servers") == [
        "  failed servers",
        "  ✘ cameras-17  on node-17",
        "    out of memory",
        "  and 1 more",
    ]


def test_what_was_rolled_back_and_how_to_try_again() -> None:
    rejected = version(5) | {
        "reason": "AnalysisFailed",
        "message": "errors 0.08 (must be ≤ 0.01)",
        "at": at(75),
    }
    obj = deployment(phase="Degraded", message="back on shelf-4", rejected=rejected, **COUNTS)
    lines = drawn(obj)
    assert lines[0] == "cameras  Degraded  shelf-4"
    assert section(lines, "rolled back") == [
        "  rolled back  shelf-5, 1m15s ago: AnalysisFailed",
        "    errors 0.08 (must be ≤ 0.01)",
        "    modelyard rollout retry cameras   "
        "retries it; a newer version is rolled out automatically",
    ]
    said = obj | {"status": obj["status"] | {"message": f"back: {rejected['message']}"}}
    assert sum("must be ≤ 0.01" in line for line in drawn(said)) == 1


def test_the_last_rollouts() -> None:
    assert section(drawn(rolling()), "history") == [
        "  history  modelyard history cameras",
        "  6  shelf-4  Succeeded   1d ago, took 1h00m, 4,990 servers",
        "  5  shelf-4  RolledBack  2d3h ago, took 1h00m",
        "     errors 0.08 (must be ≤ 0.01)",
        "  4  shelf-3  Succeeded   9d5h ago, took 1h00m, 4,800 servers",
    ]


def test_at_rest_it_says_which_way_a_new_version_would_take() -> None:
    lines = drawn(deployment(phase="Healthy", message="all answer", **COUNTS))
    assert (
        "  A new version takes  prestage → shadow → 1 % of servers → pool lab → pool north → "
        "all servers"
    ) in lines
    assert not [line for line in lines if line.strip().startswith(("○", "●", "‖"))]


def test_a_new_object_without_a_status() -> None:
    obj = {"metadata": {"name": "x", "namespace": "n", "generation": 1}, "spec": {"modelLine": "x"}}
    assert drawn(obj) == [
        "x  Pending  serves nothing yet",
        "  namespace n, model line x, target cluster, replicas 1",
        "  the operator has not seen the latest change of the spec yet",
    ]


def test_new_settings_of_the_same_version() -> None:
    obj = rolling()
    obj["status"]["candidate"] = version(4)
    assert drawn(obj)[0] == "cameras  Progressing  shelf-4 with new settings"


def test_a_version_that_somebody_asked_for() -> None:
    override = {"version": 3, "insteadOf": 5, "at": at(7200)}
    assert "  version 3 is served instead of 5, as a user requested 2h00m ago" in drawn(
        deployment(phase="Healthy", override=override)
    )


def test_who_started_it_who_paused_it_and_who_did_what() -> None:
    robot = "system:serviceaccount:argocd:argocd-server"
    asked = [
        {"action": "promote", "by": "ada", "at": at(600)},
        {"action": "pause", "by": robot, "at": at(60)},
    ]
    paused = {"reason": "Requested", "since": at(60), "by": robot}
    obj = rolling("Step", 2, paused=paused, by="ada@example.com", actions=asked)
    lines = drawn(obj)
    assert ", by ada@example.com, started " in lines[2]
    done = "promote by ada 10m ago, pause by service account argocd/argocd-server 1m ago"
    assert lines[3] == f"  {done}"
    assert any("paused by service account argocd/argocd-server" in line for line in lines)
    seen = view(obj).as_json()
    assert (seen["by"], seen["actions"][1]["by"]) == ("ada@example.com", robot)


def test_who_went_back_and_who_started_what_has_ended() -> None:
    override = {"version": 3, "insteadOf": 5, "at": at(7200), "by": "ada"}
    ended = {**HISTORY[0], "by": "bob"}
    lines = drawn(deployment(phase="Healthy", override=override, history=[ended]))
    assert "  version 3 is served instead of 5, as ada requested 2h00m ago" in lines
    assert any(line.endswith("4,990 servers, by bob") for line in lines)


def test_many_pools_are_cut_to_those_that_matter() -> None:
    pools = [{"name": f"p{i:02}", "servers": 10, "updated": 10} for i in range(40)]
    pools[33] |= {"updated": 4}
    pools[35] |= {"failed": 1}
    obj = deployment(phase="Progressing", pools=pools, **COUNTS)
    lines = section(drawn(obj), "UPDATED")
    assert len(lines) == 2 + 12 + 1
    assert [line.split()[0] for line in lines[-3:-1]] == ["p33", "p35"]
    assert lines[-1] == "  and 28 more pools with 280 servers"


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_terminal_is_never_overrun_by_the_table_of_servers(width: int) -> None:
    layout = Layout(NOW, width=width, zone=UTC)
    text = rolloutdraw.plain(view(rolling()), layout)
    table = section(text.splitlines(), "UPDATED")
    assert max(len(line) for line in table) <= width
    assert len({len(line) for line in table if "north" in line or "servers" in line}) == 1


@pytest.mark.parametrize(
    ("total", "parts", "absent", "wanted"),
    [
        (10, [5], 0, "━━━━━─────"),
        (5000, [1], 0, "━─────────"),
        (5000, [4999, 1], 0, "━━━━━━━━━━"),
        (10, [8], 2, "━━━━━━━━┄┄"),
        (0, [0], 0, "──────────"),
    ],
)
def test_bars(total: int, parts: list[int], absent: int, wanted: str) -> None:
    made = bar(10, total, [(one, "") for one in parts], absent)
    assert "".join(text for text, _ in made) == wanted


def test_one_line_for_logs() -> None:
    analysis = {
        "phase": "Running",
        "startedAt": at(4),
        "metrics": [metric("errors", value=0.002, successful=1)],
    }
    assert rolloutdraw.sentence(view(rolling(analysis=analysis))) == (
        "Progressing; shelf-4 → shelf-5; pool north 312 of 1,240; 340 of 5,000 updated, 4,896 "
        "ready; 104 offline; 2 failed; errors 0.002 (must be ≤ 0.01) 1/3"
    )


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        (deployment(phase="Healthy"), True),
        (deployment(phase="Suspended"), True),
        (deployment(phase="Degraded"), False),
        (deployment(phase="Pending"), None),
        (rolling(), None),
        (rolling() | {"status": rolling()["status"] | {"phase": "Degraded"}}, False),
        (deployment(phase="Healthy") | {"metadata": {"name": "x", "generation": 4}}, None),
    ],
)
def test_when_a_rollout_has_ended(obj: dict[str, Any], wanted: bool | None) -> None:
    assert ended(view(obj)) is wanted


def test_how_a_rollout_ended_by_its_number() -> None:
    seen = view(deployment(phase="Healthy", history=HISTORY))
    assert outcome_of(seen, 5) == "RolledBack"
    assert outcome_of(seen, 99) == ""
    assert outcome_of(seen, None) == ""


def test_json_has_all_of_it() -> None:
    found = view(rolling(), (Failure("a", "n", "m"),)).as_json()
    assert (found["stable"], found["candidate"], found["phase"]) == (
        "shelf-4",
        "shelf-5",
        "Progressing",
    )
    assert [s["state"] for s in found["stages"]] == [*["Done"] * 4, "Running", "Waiting"]
    assert found["all"]["offline"] == 104
    assert [p["pool"] for p in found["pools"]] == [p["name"] for p in POOLS]
    assert found["failures"] == ({"name": "a", "node": "n", "message": "m"},)


def test_a_first_rollout_without_a_stable_version() -> None:
    obj = rolling()
    del obj["status"]["stable"]
    obj["status"]["rollout"] = state("Step", 1, trigger="")
    assert drawn(obj)[0] == "cameras  Progressing  nothing → shelf-5"
