"""Serves one network as a pod does, Triton with our agent, from this checkout or another one.

    PYTHONPATH=TREE:TREE/operator python layout.py '{"folder": "…", "model": "…", "port": 8080}'

Run by its path, so that everything but this file comes from TREE: that is how two layouts of the
serving steps are asked in turns. Prints one line, JSON of `Up`, once it serves; ends with stdin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LINE = "digits"


@dataclass(frozen=True)
class Up:
    """A server that answers."""

    grpc: str
    http: str
    metrics: str
    triton: int
    """Process id of Triton, which leads a process group with its steps."""
    agent: int
    """Process id of this process's child, or of this process."""
    started: float
    """When Triton was started, on CLOCK_MONOTONIC."""
    ready: float
    """When the agent reported that the version serves."""
    control_key: str
    """File with what Triton's control needs."""


@contextmanager
def serving(
    tree: Path,
    folder: Path,
    model: Path,
    port: int,
    *,
    environment: dict[str, str] | None = None,
    options: Sequence[str] = (),
    max_batch: int | None = None,
) -> Iterator[Up]:
    """A server of a checkout. `environment` and `options` are more of Triton's; `max_batch` is what
    a Deployment's batching.maxSize says."""
    folder.mkdir(parents=True)
    given = {
        "folder": str(folder),
        "model": str(model),
        "port": port,
        "cpus": len(os.sched_getaffinity(0)),
        "environment": environment or {},
        "options": list(options),
        # Agents of other checkouts may not know it.
        "orders": {"max_batch": max_batch} if max_batch else {},
    }
    with (folder / "layout.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(given)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": f"{tree}:{tree}/operator"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError((folder / "layout.log").read_text()[-3000:])
        yield Up(**json.loads(line))
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(given: dict[str, Any]) -> None:
    # Not above: they come from the tree, and `serving` runs in ours.
    from tests.benchmarks.serving import agent as agents
    from tests.serving.server import Server, unpacked

    folder, model = Path(given["folder"]), Path(given["model"])
    server = Server(unpacked(), folder / "models", folder / "triton.log")
    orders = _orders(given, server, folder / "agent", model)
    if given["environment"] or given["options"]:  # other checkouts may not know these
        server.environment.update(given["environment"])
        server.options.extend(given["options"])
    begun = time.monotonic()
    server.start()
    try:
        with agents.agent(orders):
            assert server.process is not None
            up = Up(
                grpc=server.grpc,
                http=server.http,
                metrics=server.metrics,
                triton=server.process.pid,
                agent=_children(os.getpid(), without=server.process.pid),
                started=begun,
                ready=time.monotonic(),
                control_key=str(server.control_key),
            )
            print(json.dumps(asdict(up)), flush=True)
            sys.stdin.read()
    finally:
        server.stop()


def _orders(given: dict[str, Any], server: Any, own: Path, model: Path) -> Any:
    """What the tree's agent is told; its store has the network."""
    from tests.benchmarks.serving import agent as agents
    from tests.benchmarks.serving.site import manifest

    from modelyard.contract.run import StoreLocation
    from modelyard.store import Store

    own.mkdir()
    store = Store.open(StoreLocation(url=f"file://{own}/store"))
    return agents.Orders(
        triton=server.grpc,
        metrics=server.metrics,
        control_key=str(server.control_key),
        models=str(server.root),
        spool=str(server.spool),
        folder=str(own),
        port=given["port"],
        cpus=given["cpus"],
        assigned={
            "modelVersion": f"{LINE}-1",
            "version": 1,
            "artifact": "onnx",
            "format": "onnx",
            "digest": store.put_file(model),
            "manifestDigest": store.put_bytes(manifest(model).dump()),
        },
        **given["orders"],
    )


def _children(pid: int, *, without: int) -> int:
    """The agent among this process's children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return next((int(one) for one in text.split() if int(one) != without), pid)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
