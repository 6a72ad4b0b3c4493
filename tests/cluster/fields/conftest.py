"""One control plane with controllers, one operator process, and the experiment run on them once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard_local.cluster import ControlPlane

from ..fake_status import NODES_STAY
from .apiserver import Server
from .cases import SPACE
from .experiment import Experiment, Record


@dataclass
class Operator:
    """The operator's process."""

    kubeconfig: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": "0",
            "MODELYARD_LEASE_NAMESPACE": SPACE,
            "MODELYARD_LOG_FORMAT": "logfmt",
            "MODELYARD_ALLOWED_IMAGES": "*",
            # A busy machine is no reason to lose it: the operator must not start over here.
            "MODELYARD_LEASE_SECONDS": "60",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.handlers"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)


@dataclass
class Outcome:
    """The experiment's record, and how the operator took it."""

    record: Record
    log: str
    exit_code: int | None
    """None if it ran until it was stopped."""


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("fields")
    # Autoscalers write what is compared here; tests/cluster/scaling looks at them.
    unscaled = "--controllers=*,-horizontal-pod-autoscaler-controller"
    flags = {"kube-controller-manager": [NODES_STAY, unscaled]}
    with ControlPlane(folder / "plane", controller_manager=True, more_flags=flags) as plane:
        operator = Operator(plane.kubeconfig, folder / "operator.log")

        async def experiment() -> Record:
            async with Server(plane.kubeconfig, folder) as server:
                return await Experiment(server, operator.start).run()

        try:
            record = asyncio.run(experiment())
            tried = sum(map(len, record.tried.values()))
            print(
                f"fields: {len(record.tried)} leaves, {tried} values with objects of their own, "
                f"{len(record.asked)} asked about; seconds: {record.seconds}"
            )
            assert operator.process is not None
            return Outcome(record, operator.log.read_text(), operator.process.poll())
        finally:
            operator.stop()
