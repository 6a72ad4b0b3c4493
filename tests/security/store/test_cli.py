"""`modelyard weights add` uses the namespace's own key and part of the store.

Real: API server with the chart's Secrets, the command line as a process, versitygw. Not real: the
operator, of which the command line reads only its Deployment's environment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.paths import weights_key
from modelyard.store import sha256_file

from .conftest import SYSTEM, Embedded, values

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def store(start: Callable[..., Any]) -> Iterator[Embedded]:
    """The embedded store of two namespaces."""
    with start(values("a", "b")) as running:
        yield running


@pytest.fixture(scope="module")
def prepared(cluster: Any, store: Embedded) -> Any:
    """An API server with what the chart makes for the command line."""
    for namespace in (SYSTEM, "a", "b", "c"):
        cluster.kubectl("create", "namespace", namespace)
    for secret in store.rendered.of("Secret"):
        cluster.create(secret)
    operator = store.rendered.one("Deployment", "modelyard-operator")
    for variable in operator["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "MODELYARD_STORE__ENDPOINT":
            # Where the store of this test listens; the chart's is reached through a port-forward.
            variable["value"] = store.endpoint
    cluster.create(operator)
    return cluster


def add(cluster: Any, file: Path, namespace: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard.cli.main", "weights", "add", str(file)]
    command += ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_weights_go_into_the_part_of_one_namespace(
    prepared: Any, store: Embedded, tmp_path: Path
) -> None:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"PK\x03\x04" + b"weights" * 1000)
    done = add(prepared, file, "a")
    assert done.returncode == 0, done.stderr
    mine, other = (store.store(name, store.key(name, "writer")) for name in ("a", "b"))
    assert mine.get_pointer(weights_key("mine.pt")) == {
        "digest": sha256_file(file),
        "source": "mine.pt",
    }
    assert other.get_pointer(weights_key("mine.pt")) is None
    assert not other.exists(sha256_file(file))


def test_a_namespace_without_a_part_is_told(prepared: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"PK\x03\x04")
    done = add(prepared, file, "c")
    assert done.returncode == 1
    assert "namespace c has no part of the store: name one of a, b with --namespace" in done.stderr
    prepared.kubectl("-n", "b", "delete", "secret", "modelyard-store-writer")
    done = add(prepared, file, "b")
    assert done.returncode == 1
    assert "there is no Secret modelyard-store-writer" in done.stderr
    assert "in namespace b" in done.stderr
