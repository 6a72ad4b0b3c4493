"""The chart's alerts, as Prometheus' own tool reads and tests them. How a running Prometheus
evaluates them is in test_analysis.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .server import built

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "charts/modelyard/files/alerts.yaml"
CASES = ROOT / "tests/unit/chart/alerts.test.yaml"


@pytest.mark.parametrize(("verb", "file"), [("check", ALERTS), ("test", CASES)])
def test_promtool_agrees(verb: str, file: Path) -> None:
    command = [str(built("promtool")), verb, "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
