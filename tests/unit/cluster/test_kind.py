"""The kind path, by the commands that it would run (no machine of ours can run kind)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from modelyard_local.cluster import kind
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.kind import Engine, KindCluster, Result


class Recorder:
    """A runner that answers by the first words of a command and keeps what it was asked."""

    def __init__(self, answers: dict[str, Result] | None = None) -> None:
        self.answers = answers or {}
        self.commands: list[str] = []
        self.environments: list[dict[str, str]] = []

    def __call__(self, command: Sequence[str], more: dict[str, str], timeout: float) -> Result:
        line = " ".join(command)
        self.commands.append(line)
        self.environments.append(more)
        fitting = [answer for start, answer in self.answers.items() if line.startswith(start)]
        return fitting[0] if fitting else Result(0, "")


def everything_installed(name: str) -> str:
    return f"/usr/bin/{name}"


def test_creates_a_cluster_with_its_own_kubeconfig(tmp_path: Path) -> None:
    run = Recorder({"docker images": Result(0, "kindest/node:v1.36.1\nkindest/node:v1.30.0")})
    KindCluster(tmp_path / "demo", Engine("docker"), run=run).up()
    assert run.commands[-1] == (
        "kind create cluster --name modelyard-demo --image kindest/node:v1.36.1 "
        f"--kubeconfig {tmp_path}/demo/kubeconfig --wait 180s"
    )


def test_reuses_a_cluster_that_exists(tmp_path: Path) -> None:
    run = Recorder({"kind get clusters": Result(0, "other\nmodelyard-demo")})
    KindCluster(tmp_path / "demo", Engine("docker"), run=run).up()
    assert not any("create" in command for command in run.commands)
    assert run.commands[-1].startswith("kind export kubeconfig --name modelyard-demo")


def test_tells_kind_about_podman(tmp_path: Path) -> None:
    run = Recorder()
    KindCluster(tmp_path / "demo", Engine("podman"), image="kindest/node:v1", run=run).up()
    assert all(each == {"KIND_EXPERIMENTAL_PROVIDER": "podman"} for each in run.environments)


def test_loads_and_deletes(tmp_path: Path) -> None:
    run = Recorder()
    cluster = KindCluster(tmp_path / "demo", Engine("docker"), image="kindest/node:v1", run=run)
    cluster.up()
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"")
    assert cluster.load_image(archive)
    assert run.commands[-1] == f"kind load image-archive {archive} --name modelyard-demo"
    cluster.down(purge=True)
    assert run.commands[-1].startswith("kind delete cluster --name modelyard-demo")
    assert not (tmp_path / "demo").exists()


def test_a_failing_kind_is_an_error_with_its_words(tmp_path: Path) -> None:
    run = Recorder({"kind create": Result(1, "ERROR: failed to create cluster: no space left")})
    with pytest.raises(ClusterError, match="no space left"):
        KindCluster(tmp_path / "demo", Engine("docker"), image="kindest/node:v1", run=run).up()


def test_finds_podman_where_docker_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind.shutil, "which", everything_installed)
    run = Recorder({"docker info": Result(1, "Cannot connect to the Docker daemon")})
    assert kind.find_engine(run) == Engine("podman")


def test_says_why_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kind.shutil, "which", lambda name: "/usr/bin/docker" if name == "docker" else None
    )
    run = Recorder({"docker info": Result(1, "Cannot connect to the Docker daemon")})
    reason = kind.find_engine(run)
    assert reason == (
        "docker does not answer (Cannot connect to the Docker daemon), podman is not installed"
    )


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"docker pull": Result(1, "no route to host")}, "cannot be pulled (no route to host)"),
        ({"docker run": Result(126, "unable to apply caps")}, "refuses privileged containers"),
        ({"docker images": Result(0, "kindest/node:v1.36.1")}, ""),
    ],
)
def test_obstacles(
    answers: dict[str, Result], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind.shutil, "which", everything_installed)
    found = kind.kind_obstacle(Engine("docker"), Recorder(answers))
    assert reason in found
    assert bool(reason) == bool(found)
