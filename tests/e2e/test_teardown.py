"""The last test: nothing of the demo's cluster stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard_local.cluster.local import LocalCluster
from modelyard_local.cluster.paths import cluster_folder

from .conftest import NAME, Demo, run_demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_down_leaves_no_process_and_no_mount(demo: Demo) -> None:
    run_demo(demo.folder, "down")
    folder = str(cluster_folder(NAME))
    assert folder not in Path("/proc/mounts").read_text()
    commands = [_command(p) for p in Path("/proc").iterdir() if p.name.isdigit()]
    assert [c for c in commands if folder in c] == []
    assert LocalCluster(cluster_folder(NAME)).left_overs() == []
    assert not Path(folder).exists()


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
