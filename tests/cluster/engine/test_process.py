"""The operator's own entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

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
