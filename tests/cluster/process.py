"""The operator as a process, and what its HTTP endpoint says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

UNDONE = ("modelyard_queue_due", "modelyard_queue_working")
"""Metrics of work that is not done yet."""


_given: list[socket.socket] = []
"""Hold the ports that were given: bound to them and not listening, they keep the kernel from
giving them to anybody else, and nobody who sets SO_REUSEADDR, as servers do, from listening."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, for the rest of this process."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _given.append(holder)
    port: int = holder.getsockname()[1]
    return port


class Endpoint:
    """Metrics and probes of an operator that listens on a loopback port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.http = httpx.Client(trust_env=False, timeout=5)

    def ask(self, path: str) -> httpx.Response | None:
        """The HTTP answer, or None while the process does not answer."""
        try:
            return self.http.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.HTTPError:
            return None

    def metrics(self) -> dict[str, float]:
        """All metrics, each summed over its labels; empty while there is no answer."""
        answer = self.ask("/metrics")
        found: dict[str, float] = {}
        for line in answer.text.splitlines() if answer is not None else ():
            if not line.startswith("#"):
                name = re.split(r"[{ ]", line, maxsplit=1)[0]
                found[name] = found.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels (0 if it has none yet); -1 while there is no answer."""
        found = self.metrics()
        return found.get(name, 0.0) if found else -1

    def wrote(self) -> float:
        """Writes about what controllers touch that this process has sent, whatever came of them."""
        answer = self.ask("/metrics")
        assert answer is not None
        total = 0.0
        for line in answer.text.splitlines():
            if line.startswith("modelyard_api_requests_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["verb"] not in ("get", "list") and labels["kind"] != "Lease":
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def settled(self) -> bool:
        """Whether the process leads, has listed everything, and has done all that is due."""
        found = self.metrics()
        return bool(found) and found["modelyard_synced"] == 1 and not any(map(found.get, UNDONE))


class Operator(Endpoint):
    """One operator process of its own."""

    def __init__(
        self, kubeconfig: Path, folder: Path, name: str, *command: str, **env: str
    ) -> None:
        super().__init__(free_port())
        self.log = folder / f"{name}.log"
        variables = {
            "KUBECONFIG": str(kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": str(self.port),
            "MODELYARD_LEASE_SECONDS": "4",
            "MODELYARD_LEASE_NAMESPACE": "default",
            "PATH": os.environ["PATH"],
            **{f"MODELYARD_{key}": value for key, value in env.items()},
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "modelyard.handlers"))],
                env=variables,
                stderr=log,
                stdout=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def resync(self) -> None:
        """Ask it to list and reconcile everything."""
        self.kill(signal.SIGUSR1)

    def gone(self, seconds: float = 15) -> int:
        """Wait for the end of the process; returns its exit code."""
        return self.process.wait(seconds)

    def synced(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return self.metric("modelyard_synced") == 1

    def idle(self) -> bool:
        """Whether all that is due has been done."""
        return self.synced() and self.settled()
