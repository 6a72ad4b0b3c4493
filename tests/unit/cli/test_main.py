"""The command line as a person meets it: help, exit codes, errors of one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.cli import weights as weights_command
from modelyard.cli.main import main
from modelyard.cli.options import program
from modelyard.contract.paths import weights_key
from modelyard.contract.run import StoreLocation
from modelyard.store import Store, sha256_file

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command line without any kubeconfig; returns exit code, output and errors."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    def call(*arguments: str, invoked: str = "modelyard") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [invoked, *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


def test_help_names_the_commands(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in (
        "cluster", "demo", "history", "predict", "rollout", "status", "version", "weights",
    ):  # fmt: skip
        assert command in out


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version(asked: str, run: Run) -> None:
    code, out, _ = run(asked)
    assert code == 0
    assert "modelyard.dev/v1alpha1" in out


@pytest.mark.parametrize(
    ("invoked", "name"),
    [
        ("/usr/local/bin/modelyard", "modelyard"),
        ("/usr/local/bin/kubectl-modelyard", "kubectl modelyard"),
        ("/x/modelyard/cli/main.py", "modelyard"),
    ],
)
def test_the_program_is_called_as_the_user_called_it(invoked: str, name: str) -> None:
    assert program(invoked) == name


def test_usage_as_a_kubectl_plugin(run: Run) -> None:
    assert (
        "Usage: kubectl modelyard status" in run("status", "--help", invoked="kubectl-modelyard")[1]
    )


def test_a_wrong_option_is_a_usage_error(run: Run) -> None:
    code, _, errors = run("status", "--nmespace", "x")
    assert code == 2
    assert "--namespace" in errors


def test_commands_of_the_other_distribution_work_like_the_rest(run: Run, tmp_path: Path) -> None:
    assert "Usage: modelyard cluster up" in run("cluster", "up", "--help")[1]
    code, _, errors = run("demo", "--checkout", str(tmp_path), "--folder", str(tmp_path / "demo"))
    assert code == 1
    assert errors.startswith("Error: examples/digits")


@pytest.mark.parametrize("command", ["cluster", "demo"])
def test_without_the_other_distribution_its_commands_say_what_to_install(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.cli.main.entry_points", lambda group: ())
    code, _, errors = run(command, "--help")
    assert code == 2
    assert errors.startswith(f"Error: `modelyard {command}` comes with the package modelyard-local")
    assert f" {command} " not in run("--help")[1]


def test_an_error_of_the_cluster_ends_the_demo_without_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = str(Path(__file__).parents[3])
    folder = str(tmp_path / "demo")
    code, _, errors = run("demo", "--checkout", checkout, "--folder", folder, "--cluster", "k3s")
    assert code == 1
    assert errors.startswith("Error: CLUSTER=k3s is unknown")


def test_no_kubeconfig(run: Run) -> None:
    code, out, errors = run("status")
    assert (code, out) == (1, "")
    assert errors.count("\n") == 1
    assert errors.startswith("Error: there is no kubeconfig")
    assert "modelyard cluster up" in errors


def test_a_kubeconfig_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, errors = run("status", "--kubeconfig", str(tmp_path / "gone"))
    assert code == 1
    assert errors == f"Error: there is no kubeconfig at {tmp_path / 'gone'}\n"


def _kubeconfig(path: Path, server: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(config))
    return path


def test_a_context_that_is_not_there(run: Run, tmp_path: Path) -> None:
    file = _kubeconfig(tmp_path / "config", "http://127.0.0.1:9")
    code, _, errors = run("status", "--kubeconfig", str(file), "--context", "there")
    assert code == 1
    assert errors == f"Error: the kubeconfig {file} has no context 'there'\n"


@pytest.mark.parametrize("content", ["", "{", "[]", "hello", '{"clusters": 3}'])
def test_a_kubeconfig_that_is_none(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    code, _, errors = run("status", "--kubeconfig", str(file))
    assert code == 1
    assert errors.startswith(f"Error: the kubeconfig {file}")
    assert "Traceback" not in errors


def test_a_cluster_that_is_down(run: Run, tmp_path: Path) -> None:
    file = _kubeconfig(tmp_path / "config", "http://127.0.0.1:9")
    code, _, errors = run("status", "--kubeconfig", str(file))
    assert code == 3
    assert "the cluster at http://127.0.0.1:9 cannot be reached" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "none.jpg", "-d", "x"), "none.jpg cannot be read: No such file"),
        (("status", "-A", "-n", "x"), "choose either --namespace or --all-namespaces"),
        (("history", "x", "--node", "a", "--server", "b"), "choose either --node or --server"),
        (("history", "x", "--at", "noon"), "'noon' is not a time: write 2026-11-17T10:00"),
        (("history", "x", "--at", "2200-01-01"), "is in the future"),
        (("rollout", "status", "x", "--timeout", "soon"), "'soon' is not a duration"),
        (("rollout", "rollback", "x", "0"), "greater than or equal to 1"),
        (("weights", "add", "x.pt", "--endpoint", "http://e"), "--endpoint belongs to --store"),
        (("weights", "add", "x.onnx"), "'x.onnx' cannot name weights"),
        (("weights", "add", "missing/x.pt"), "there is no file missing/x.pt"),
    ],
)
def test_wrong_arguments(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, errors = run(*arguments)
    assert code in (1, 2)
    assert message in errors
    assert "Traceback" not in errors


def test_weights_go_where_trainings_look(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    file.write_bytes(b"PK\x03\x04" + b"weights" * 1000)
    url = f"file://{tmp_path}/store"
    code, out, errors = run("weights", "add", str(file), "--name", "mine.pt", "--store", url)
    assert (code, errors) == (0, "")
    assert "model: mine.pt" in out
    store = Store.open(StoreLocation(url=url))
    pointer = store.get_pointer(weights_key("mine.pt"))
    assert pointer == {"digest": sha256_file(file), "source": "best.pt"}
    assert store.get_bytes(pointer["digest"]) == file.read_bytes()


def test_a_web_page_is_no_checkpoint(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "yolo11n.pt"
    file.write_text("<html>404")
    code, _, errors = run("weights", "add", str(file), "--store", f"file://{tmp_path}/store")
    assert code == 1
    assert "is not a PyTorch checkpoint" in errors
    assert not (tmp_path / "store").exists()


def test_an_unusable_store(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "yolo11n.pt"
    file.write_bytes(b"PK\x03\x04")
    code, _, errors = run("weights", "add", str(file), "--store", "ftp://x")
    assert code == 1
    assert "the scheme must be one of" in errors


def test_weights_are_downloaded_from_where_trainings_would() -> None:
    source = Path(weights_command.__file__).parent.parent / "workloads/train/initial.py"
    assert f'RELEASE = "{weights_command.RELEASE}"' in source.read_text()
