"""The operator's own entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from .chain import CHAIN, KINDS, READY

pytestmark = pytest.mark.cluster

ENTRY = ("-m", "modelyard.handlers")


def run(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *ENTRY],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_real_controllers_start(server: Any, start: Any, wait: Any) -> None:
    operator = start("real", *ENTRY)
    wait(operator.synced, 60, what="synced")
    assert operator.ask("/readyz").text == "leading"
    assert operator.ask("/healthz").text == "ok"
    assert "Traceback" not in operator.log.read_text()


def test_the_real_controllers_write_nothing_twice(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    group = f"/apis/modelyard.dev/v1alpha1/namespaces/{space}"
    for plural, spec in CHAIN.items():
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": KINDS[plural],
            "metadata": {"name": "shelf-1"},
            "spec": spec,
        }
        server.call("POST", f"{group}/{plural}", body)
    merge = {"Content-Type": "application/merge-patch+json"}
    server.call("PATCH", f"{group}/modelversions/shelf-1/status", {"status": READY}, **merge)
    first = start("first", *ENTRY)
    serving = f"/apis/apps/v1/namespaces/{space}/deployments"
    wait(lambda: server.get(serving)["items"], 60, what="a server for the ready version")
    wait(lambda: server.get(f"/apis/batch/v1/namespaces/{space}/jobs")["items"], what="a Job")
    wait(first.idle, what="idle")
    first.kill(15)
    assert first.gone() == 0
    before = server.writes()
    second = start("second", *ENTRY)
    wait(second.idle, 60, what="idle again")
    reconciled = second.metric("modelyard_reconciles_total")
    second.resync()
    wait(
        lambda: second.metric("modelyard_reconciles_total") >= 2 * reconciled and second.idle(),
        what="a resync",
    )
    assert server.writes() == before, second.log.read_text()
    assert "another form" not in first.log.read_text()
    for plural in CHAIN:
        server.call("DELETE", f"{group}/{plural}/shelf-1")


def test_a_wrong_setting_is_named() -> None:
    done = run(MODELYARD_WORKERS="many")
    assert done.returncode == 2
    assert "MODELYARD_WORKERS='many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_cluster_is_said(tmp_path: Any) -> None:
    done = run(KUBECONFIG=str(tmp_path / "missing"))
    assert done.returncode == 1
    assert f"kubeconfig {tmp_path}/missing" in done.stderr
    assert "Traceback" not in done.stderr
