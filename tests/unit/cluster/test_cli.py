"""What a person reads from `modelyard cluster`, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelyard_local.cluster import manage
from modelyard_local.cluster.command import app
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.status import age


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "modelyard/clusters"


def test_status_of_nothing_says_how_to_begin(state: Path) -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert result.stderr == "Error: Cluster local does not exist: run `modelyard cluster up`\n"


def test_down_of_nothing_is_fine(state: Path) -> None:
    result = CliRunner().invoke(app, ["down", "--purge"])
    assert result.exit_code == 0
    assert result.stdout == "cluster local: there is none\n"


def test_a_stopped_cluster_is_unhealthy_in_table_and_json(state: Path) -> None:
    layout = Layout(state / "cp")
    manage.Settings(mode="control-plane").write(layout)
    cluster = manage.existing("cp")
    assert cluster
    cluster._plane.plan({})
    table = CliRunner().invoke(app, ["status", "--name", "cp"])
    assert table.exit_code == 1
    assert "cp (control-plane)" in table.stdout
    assert f"kubeconfig {layout.kubeconfig}" in table.stdout
    document = json.loads(CliRunner().invoke(app, ["status", "--name=cp", "-o", "json"]).stdout)
    assert document["healthy"] is False
    assert [row["component"] for row in document["components"]] == ["etcd", "kube-apiserver"]
    assert {row["message"] for row in document["components"]} == {"not running"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Local"], "'Local' cannot name a cluster"),
        (["--mode", "full", "--kwok"], "belong to --mode control-plane"),
        (["--pod-subnet", "8.8.8.0/24"], "The pod subnet 8.8.8.0/24 must be private"),
    ],
)
def test_bad_options_are_explained(arguments: list[str], message: str, state: Path) -> None:
    result = CliRunner().invoke(app, ["up", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not state.exists()


def test_a_cluster_does_not_change_its_mode(state: Path) -> None:
    manage.Settings(mode="full").write(Layout(state / "local"))
    result = CliRunner().invoke(app, ["up", "--mode", "control-plane"])
    assert result.exit_code == 1
    assert "Cluster local is a full cluster: remove it with" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (119, "119s"), (600, "10m"), (90000, "25h"), (200000, "2d")]
)
def test_ages_read_like_kubectls(seconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert age(1_000_000.0 - seconds) == text
