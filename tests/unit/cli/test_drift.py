"""`modelyard drift`: what is told of servers, charts as text and as a picture."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from modelyard.cli import drift, driftdraw, driftview
from modelyard.cli.errors import CliError

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
FINDING = {
    "kind": "Drift", "source": "hall", "signal": "TopScore", "size": -3.2,
    "because": ["Brightness -2.1"], "since": "2026-11-28T10:00:00Z",
}  # fmt: skip
TOP = [[0, 0.1, 0.0], [60, -2.0, 0.5], [120, -3.0, 1.2]]
CHARTS = [
    {"source": "hall", "signal": "TopScore", "points": TOP},
    {"source": "hall", "signal": "Brightness", "points": [[120, None, None]]},
]


def server(name: str, state: str, *findings: dict[str, Any]) -> dict[str, Any]:
    drifts = {"state": state, "findings": list(findings)}
    return {
        "metadata": {"name": name, "namespace": "vision"},
        "spec": {"podName": f"{name}-pod", "nodeName": f"{name}-node"},
        "status": {"drift": drifts} if state else {},
    }


DEPLOYMENT = {
    "metadata": {"name": "cameras", "namespace": "vision", "uid": "u"},
    "spec": {"monitoring": {"drift": {}}},
    "status": {"conditions": [{"type": "Drifting", "status": "True", "message": "2 of 3 drift"}]},
}
SERVERS = [server("a", "Stable"), server("b", "Drifting", FINDING), server("c", "")]


class FakeCluster:
    namespace = "vision"
    server = "https://cluster"

    def __init__(self, deployment: dict[str, Any] = DEPLOYMENT) -> None:
        self.deployment = deployment
        self.notes: dict[str, str] = {}

    def get(self, *_: str) -> dict[str, Any]:
        return self.deployment

    def objects(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return SERVERS

    def annotate(self, _kind: str, _namespace: str, _name: str, notes: dict[str, str]) -> None:
        self.notes = notes


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    one = FakeCluster()
    monkeypatch.setattr(drift, "connect", lambda *_: one)
    monkeypatch.setattr(drift, "_charts", lambda *_: (CHARTS, ""))
    return one


def run(*arguments: str) -> str:
    result = CliRunner().invoke(drift.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_the_text_names_who_drifts_why_and_since_when(cluster):
    text = run("cameras")

    assert "1 Drifting, 1 Unknown" in text
    assert "Drifting=True: 2 of 3 drift" in text
    told = "b Drifting: Drift hall TopScore -3.2 sd (with Brightness -2.1), "
    assert told in text
    assert "b, the last 2m" in text
    (row,) = [line for line in text.splitlines() if line.startswith("hall") and "Top" in line]
    assert row.split() == ["hall", "TopScore", "1.20", "-3.0", "sd", "▁▄█"]


def test_a_server_may_be_named_by_its_pod_or_node(cluster):
    assert "\na, the last" in run("cameras", "--server", "a-node")
    assert json.loads(run("cameras", "--server", "a-pod", "-o", "json"))["server"] == "a"
    with pytest.raises(CliError, match="kubectl get modelservers"):
        run("cameras", "--server", "z")


def test_json_has_everything(cluster):
    found = json.loads(run("cameras", "-o", "json"))

    assert found["server"] == "b"
    assert found["charts"] == CHARTS
    assert [one["name"] for one in found["servers"]] == ["a", "b", "c"]


def test_the_picture_shows_an_alarm_in_red(cluster, tmp_path: Path):
    path = tmp_path / "chart.png"
    assert "charts drawn into" in run("cameras", "--out", str(path))

    picture = Image.open(path).convert("RGB")
    assert picture.size == (driftdraw.WIDTH, 26 + 2 * driftdraw.PANEL)
    right = picture.crop((picture.width - 20, 40, picture.width, 26 + driftdraw.PANEL))
    assert driftdraw._ALARM in {colour for _, colour in right.getcolors(10_000)}


@pytest.mark.parametrize(("command", "key"), [("accept", drift.ACCEPT), ("reset", drift.RESET)])
def test_a_request_is_an_annotation_that_agents_take(cluster, command, key):
    from modelyard.api.monitoring import ServerMonitoring

    assert "cameras" in run(command, "cameras")
    ((name, value),) = cluster.notes.items()
    assert name == key
    assert ServerMonitoring(accepted=value).accepted == value


def test_a_deployment_may_be_called_like_a_command(cluster):
    assert "Modelyard Deployment cameras" in run("show", "accept")


@pytest.mark.parametrize("arguments", [("cameras",), ("accept", "cameras"), ("reset", "cameras")])
def test_where_drift_is_not_looked_for_it_says_what_to_set(cluster, arguments):
    cluster.deployment = {**DEPLOYMENT, "spec": {}}
    with pytest.raises(CliError, match=r"set spec\.monitoring\.drift"):
        run(*arguments)


def test_an_agent_that_does_not_answer_is_told_beside_the_rest(monkeypatch, tmp_path):
    one = FakeCluster()
    monkeypatch.setattr(drift, "connect", lambda *_: one)

    def refused(*_: Any) -> Any:
        raise CliError("connecting to pod b-pod: no such pod")

    monkeypatch.setattr(drift, "forward", refused)
    result = CliRunner().invoke(drift.app, ["cameras"], catch_exceptions=False)

    assert result.exit_code == 0
    assert "b Drifting" in result.stdout
    assert "the agent of b (pod b-pod) does not answer" in result.output
    with pytest.raises(CliError, match="does not answer"):
        run("cameras", "--out", str(tmp_path / "x.png"))


def test_names_that_clients_chose_cannot_rewrite_the_terminal():
    evil = {**FINDING, "source": "x\x1b[2J"}
    charts = [{"source": "x\x1b[2J", "signal": "TopScore", "points": [[0, 0.0, 0.0]]}]
    seen = [server("b", "Drifting", evil)]

    assert "\x1b" not in "".join(driftview.lines(DEPLOYMENT, seen, seen[0], charts, NOW))


@pytest.mark.parametrize(
    ("levels", "drawn"),
    [([], ""), ([0.0, None, 0.99, 1.0], "▁▁▇█"), ([0.0] * 100 + [2.0], "▁" * 47 + "█")],
)
def test_a_spark_line_keeps_every_alarm(levels, drawn):
    assert driftview.sparkline(levels) == drawn
