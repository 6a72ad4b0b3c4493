"""The demo on a cluster of its own, once for the session: real kubelet, images, Triton."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ensure_all
from modelyard_local.cluster.local import LocalCluster
from modelyard_local.cluster.paths import cluster_folder
from modelyard_local.demo.environment import build_images
from modelyard_local.demo.objects import Objects

from ..prebuild import say, wanted

ROOT = Path(__file__).parents[2]
NAME = "e2e"
NAMESPACE = "e2e"
VALUES = {"workloads": {"allowedImages": ["127.0.0.1:1/nobody/*"]}}
"""Chart values beside the demo's own."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds the cluster's programs and the images that are not built yet."""
    if wanted(session, "demo"):
        ensure_all([*LocalCluster(cluster_folder(NAME)).tools, "helm"], say)
        build_images(ROOT, say)


def until(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer of `check`; fails the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


@dataclass
class Demo:
    """A demo that ran."""

    folder: Path
    objects: Objects

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text())


def run_demo(folder: Path, *arguments: str) -> None:
    """`modelyard demo …` as a user runs it; its output goes to the test's."""
    command = [sys.executable, "-m", "modelyard.cli.main", "demo"]
    values = folder / "values.json"
    values.write_text(json.dumps(VALUES))
    named = ["--name", NAME, "--namespace", NAMESPACE, "--values", str(values)]
    options = [] if "down" in arguments else named
    done = subprocess.run(
        [*command, *options, *arguments, "--folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, "CLUSTER": "local"},
        check=False,
    )
    assert done.returncode == 0, f"modelyard demo {' '.join(arguments)} failed, see above"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The whole chain on a new cluster, which is removed afterwards."""
    folder = tmp_path_factory.mktemp("demo")
    cluster = LocalCluster(cluster_folder(NAME))
    cluster.down(purge=True)
    try:
        run_demo(folder)
        yield Demo(folder, Objects(cluster.kubeconfig, NAMESPACE))
    finally:
        cluster.down(purge=True)
