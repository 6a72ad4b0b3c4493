"""The commands that read a cluster, run as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ControlPlane

pytestmark = pytest.mark.cluster
Command = Callable[..., subprocess.CompletedProcess[str]]
NS = "chain"
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def modelyard(crds: Any) -> Command:
    """Runs `modelyard` with the cluster's kubeconfig."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
        command += ["--kubeconfig", str(crds.kubeconfig)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="module")
def chain(crds: Any) -> Any:
    """A dataset that was trained on, and a Deployment that serves nothing yet."""

    def create(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": NS}
        manifest = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata}
        crds.create(manifest | {"spec": spec})
        if status:
            crds.set_status(f"{kind.lower()}s.modelyard.dev", NS, name, status)

    crds.kubectl("create", "namespace", NS)
    source = {"s3": {"bucket": "data", "key": "digits/"}}
    create("Dataset", "digits", {"source": source}, {"phase": "Valid", "images": 900})
    training = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "digits"},
        "output": {"modelLine": "digits"},
    }
    progress = {"epoch": 2, "epochs": 12}
    create("TrainingJob", "first", training, {"phase": "Running", "progress": progress})
    waiting = {"phase": "Pending", "message": "digits has no Ready version yet"}
    create("Deployment", "digits", {"modelLine": "digits"}, waiting)
    return crds


def test_status_shows_the_chain(chain: Any, modelyard: Command) -> None:
    done = modelyard("status", "-n", NS)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Dataset digits  Valid  900 images",
        "  TrainingJob first  Running  yolo11n.yaml, epoch 2 of 12",
        "Deployment digits  Pending  0/1 ready",
        "    digits has no Ready version yet",
    ]


def test_status_of_all_namespaces_names_them(chain: Any, modelyard: Command) -> None:
    assert f"Dataset {NS}/digits  Valid" in modelyard("status", "-A").stdout


def test_status_of_one_name_as_json(chain: Any, modelyard: Command) -> None:
    (tree,) = json.loads(modelyard("status", "first", "-n", NS, "-o", "json").stdout)
    assert (tree["kind"], tree["name"]) == ("Dataset", "digits")
    assert [child["name"] for child in tree["children"]] == ["first"]


def test_status_of_nothing(chain: Any, modelyard: Command) -> None:
    done = modelyard("status", "nobody", "-n", NS)
    assert done.returncode == 1
    assert f"Error: there is no Modelyard object named nobody in namespace {NS}" in done.stderr
    done = modelyard("status", "-n", "kube-public")
    assert done.returncode == 1
    assert "there are no Modelyard objects in namespace kube-public yet" in done.stderr


def test_watch_prints_what_changes(chain: Any) -> None:
    command = [sys.executable, "-m", "modelyard.cli.main", "status", "-n", NS, "--watch"]
    command += ["--kubeconfig", str(chain.kubeconfig)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        _until(lines, "epoch 2 of 12")
        chain.set_status("tj", NS, "first", {"progress": {"epoch": 3}})
        _until(lines, "epoch 3 of 12")
        chain.set_status("tj", NS, "first", {"progress": {"epoch": 2}})
    finally:
        process.terminate()
        process.wait(10)


def _until(lines: Iterator[str], text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    for line in lines:
        if text in line:
            return
        assert time.monotonic() < deadline
    pytest.fail(f"the output ended without {text!r}")


def test_predict_before_anything_serves(chain: Any, modelyard: Command, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"never looked at")
    done = modelyard("predict", str(image), "-d", "digits", "-n", NS)
    assert done.returncode == 3
    assert done.stderr == (
        "Error: Modelyard Deployment digits serves nothing yet: digits has no Ready version yet\n"
    )
    done = modelyard("predict", str(image), "-d", "typo", "-n", NS)
    assert done.returncode == 1
    assert f"there is no Deployment typo in namespace {NS}" in done.stderr


def test_predict_without_a_ready_server(chain: Any, modelyard: Command, tmp_path: Path) -> None:
    chain.kubectl("-n", NS, "create", "service", "clusterip", "lonely", "--tcp=8000")
    manifest = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "lonely", "namespace": NS},
        "spec": {"modelLine": "lonely"},
    }
    chain.create(manifest)
    stable = {
        "modelVersion": "lonely-1",
        "version": 1,
        "artifact": "onnx",
        "format": "onnx",
        "digest": DIGEST,
        "manifestDigest": DIGEST,
    }
    url = f"http://lonely.{NS}.svc:8000"
    chain.set_status("mdep", NS, "lonely", {"stable": stable, "url": url})
    image = tmp_path / "image.png"
    image.write_bytes(b"never looked at")
    try:
        done = modelyard("predict", str(image), "-d", "lonely", "-n", NS)
    finally:
        chain.kubectl("-n", NS, "delete", "mdep", "lonely")
    assert done.returncode == 3
    assert "Modelyard Deployment lonely has no server that answers: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Runs `modelyard` on a cluster that has nothing of Modelyard's."""
    with ControlPlane(tmp_path_factory.mktemp("bare")) as plane:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
            command += ["--kubeconfig", str(plane.kubeconfig)]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

        yield run


def test_a_cluster_without_an_operator(bare: Command, tmp_path: Path) -> None:
    file = tmp_path / "yolo11n.pt"
    file.write_bytes(b"PK\x03\x04")
    done = bare("weights", "add", str(file))
    assert done.returncode == 1
    assert "there is no Modelyard operator in this cluster: install the chart" in done.stderr


def test_a_cluster_without_modelyard(bare: Command) -> None:
    done = bare("status")
    assert done.returncode == 1
    assert "this cluster does not know the kind Dataset of modelyard.dev" in done.stderr
    assert "helm install" in done.stderr
