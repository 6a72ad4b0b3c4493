"""The operator as the chart installs it, in a process of this machine: its settings, its rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from .conftest import Cluster

SYSTEM = "modelyard-system"
NAME = "modelyard-operator"


@contextmanager
def running_operator(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """Runs with the environment of the chart's Deployment and the token of its service account;
    yields the file of its log."""
    (container,) = cluster.get("deployment", SYSTEM, NAME)["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value", "") for one in container["env"]}
    environment |= {"POD_NAME": "operator-0", "MODELYARD_LISTEN_PORT": "0"}
    environment |= {"PATH": os.environ["PATH"], "KUBECONFIG": str(_kubeconfig(cluster, folder))}
    path = folder / "operator.log"
    with path.open("w") as output:
        command = [sys.executable, "-m", "modelyard.handlers"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        yield path
        process.terminate()
        process.wait(20)


def _kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """The administrator's, with the operator's token in place of the certificate."""
    token = cluster.kubectl("-n", SYSTEM, "create", "token", NAME).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
