"""The real agent without an API server: it is told here what the operator would have it do.

python -m tests.benchmarks.serving.agent '{"triton": "127.0.0.1:8001", …}'
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.serving.server import Server

from modelyard.api.modelserver import Assignment, Shadowing
from modelyard.contract.run import AgentRun, StoreLocation
from modelyard.store import Store
from modelyard.workloads.agent.agent import Agent
from modelyard.workloads.agent.settings import AgentSettings
from modelyard.workloads.agent.watch import Wanted

from ..report import ROOT
from .site import LINE, Site

NOBODY = 9
"""A port of loopback that nothing listens on."""


@dataclass(frozen=True)
class Orders:
    """What one agent is told. Paths and addresses as text."""

    triton: str
    metrics: str
    control_key: str
    models: str
    spool: str
    folder: str
    """Cache, credentials and store."""
    port: int
    cpus: int
    assigned: dict[str, Any]
    shadow: dict[str, Any] | None = None
    max_batch: int | None = None


def orders(site: Site, server: Server, port: int, *, share: float | None = None) -> Orders:
    """Serve version 1 of the site's model, and shadow version 2 of it if there is a share."""
    folder = server.log.parent / "agent"
    folder.mkdir()
    store = Store.open(StoreLocation(url=f"file://{folder}/store"))
    digest, manifest = store.put_file(site.model), store.put_bytes(site.manifest.dump())

    def version(number: int) -> dict[str, Any]:
        return {
            "modelVersion": f"{LINE}-{number}",
            "version": number,
            "artifact": "onnx",
            "format": "onnx",
            "digest": digest,
            "manifestDigest": manifest,
        }

    return Orders(
        triton=server.grpc,
        metrics=server.metrics,
        control_key=str(server.control_key),
        models=str(server.root),
        spool=str(server.spool),
        folder=str(folder),
        port=port,
        cpus=site.cpus,
        assigned=version(1),
        shadow=None if share is None else {"version": version(2), "share": share},
    )


@contextmanager
def agent(given: Orders) -> Iterator[None]:
    """The agent in a process of its own; serves once the context is entered."""
    log = Path(given.folder) / "agent.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.serving.agent", json.dumps(asdict(given))],
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
    try:
        _wait_ready(given.port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(port: int, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)


async def _run(given: Orders) -> None:
    folder = Path(given.folder)
    run = AgentRun(
        namespace="bench",
        deployment=LINE,
        model_line=LINE,
        store=StoreLocation(url=f"file://{folder}/store"),
        cpu_limit=given.cpus,
        max_batch_size=given.max_batch,
    )
    settings = AgentSettings(
        run=run,
        pod_name="bench",
        namespace="bench",
        triton=given.triton,
        triton_metrics=given.metrics,
        control_key=Path(given.control_key),
        models=Path(given.models),
        cache=folder / "cache",
        probe_host="127.0.0.1",
        probe_port=given.port,
        credentials=folder,
        api_host="127.0.0.1",
        api_port=NOBODY,
        spool=Path(given.spool),
        drain_seconds=0,
    )
    made = Agent(settings)
    assigned = made._assigned
    assigned.want(Wanted(Assignment.model_validate(given.assigned), "memory"))
    if given.shadow is not None:
        assigned.shadow = Shadowing.model_validate(given.shadow)
        assigned.shadow_changed.set()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, made.stop)
    await made.run()
    print(f"shadow: {made._shadower.report}", flush=True)


if __name__ == "__main__":
    os.environ.pop("KUBERNETES_SERVICE_HOST", None)
    asyncio.run(_run(Orders(**json.loads(sys.argv[1]))))
