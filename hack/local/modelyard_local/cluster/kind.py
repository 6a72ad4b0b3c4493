"""A kind cluster, where Docker or Podman runs and may run privileged containers.

Commands are made by pure functions and run in one place, so that they can be checked on machines
that have no container engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import locked
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.progress import Progress, silent

NODE_IMAGE = "kindest/node:v1.37.0"
"""Pulled where no node image is there yet: the default of kind v0.33."""
_QUICK = 20.0
_PULL_TIMEOUT = 600.0
_CREATE_TIMEOUT = 600.0


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    output: str


Runner = Callable[[Sequence[str], dict[str, str], float], Result]
"""Runs a command with additional environment and a time limit in seconds."""


def run_command(command: Sequence[str], more: dict[str, str], timeout: float) -> Result:
    """The real runner. A missing program or a command that takes too long is a failure."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return Result(127, f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return Result(124, f"no end after {timeout:.0f} s")
    return Result(done.returncode, done.stdout.strip())


def find_engine(run: Runner = run_command) -> str | Engine:
    """The container engine that answers, Docker before Podman; else why there is none."""
    reasons = []
    for program in ("docker", "podman"):
        if not shutil.which(program):
            reasons.append(f"{program} is not installed")
            continue
        answer = run([program, "info"], {}, _QUICK)
        if answer.code == 0:
            return Engine(program)
        last = answer.output.splitlines()[-1] if answer.output else "no reason given"
        reasons.append(f"{program} does not answer ({last})")
    return ", ".join(reasons)


@dataclass(frozen=True)
class Engine:
    """Docker or Podman."""

    program: str

    @property
    def environment(self) -> dict[str, str]:
        """What tells kind to use this engine."""
        return {"KIND_EXPERIMENTAL_PROVIDER": self.program}

    def list_node_images(self) -> list[str]:
        """Lists the node images that are there, newest first."""
        form = "{{.Repository}}:{{.Tag}}"
        return [self.program, "images", "--format", form, "--filter", "reference=*kindest/node"]

    def pull(self, image: str) -> list[str]:
        """Pulls an image."""
        return [self.program, "pull", image]

    def try_privileged(self, image: str) -> list[str]:
        """Runs a privileged container that ends at once."""
        run = [self.program, "run", "--rm", "--privileged", "--network=none"]
        return [*run, "--entrypoint", "/bin/true", image]


def node_image(engine: Engine, run: Runner = run_command) -> str:
    """A node image that is there, or is pulled now. Raises ClusterError where neither works."""
    listed = run(engine.list_node_images(), {}, _QUICK)
    present = [line for line in listed.output.splitlines() if "kindest/node:" in line]
    usable = [line for line in present if not line.endswith(":<none>")]
    if listed.code == 0 and usable:
        return usable[0]
    pulled = run(engine.pull(NODE_IMAGE), {}, _PULL_TIMEOUT)
    if pulled.code:
        raise ClusterError(
            f"the node image {NODE_IMAGE} is not there and cannot be pulled "
            f"({_last_line(pulled.output)})"
        )
    return NODE_IMAGE


def kind_obstacle(engine: Engine, run: Runner = run_command) -> str:
    """Why kind cannot be used with `engine`; empty where it can."""
    if not shutil.which("kind"):
        return "the program kind is not installed (https://kind.sigs.k8s.io)"
    try:
        image = node_image(engine, run)
    except ClusterError as error:
        return str(error)
    tried = run(engine.try_privileged(image), {}, 60.0)
    if tried.code:
        return (
            f"{engine.program} refuses privileged containers, which kind's nodes are "
            f"({_last_line(tried.output)})"
        )
    return ""


class KindCluster:
    """A kind cluster with a kubeconfig of its own in `folder`; the user's stays untouched."""

    mode = "kind"

    def __init__(
        self, folder: Path, engine: Engine, image: str = "", run: Runner = run_command
    ) -> None:
        self.layout = Layout(folder.absolute())
        self.name = f"modelyard-{folder.name}"
        self._engine = engine
        self._image = image
        self._run = run

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    def create_command(self, image: str) -> list[str]:
        """Creates the cluster and waits for its node."""
        command = ["kind", "create", "cluster", "--name", self.name, "--image", image]
        return [*command, "--kubeconfig", str(self.kubeconfig), "--wait", "180s"]

    def export_command(self) -> list[str]:
        """Writes the kubeconfig of a cluster that exists."""
        command = ["kind", "export", "kubeconfig", "--name", self.name]
        return [*command, "--kubeconfig", str(self.kubeconfig)]

    def load_command(self, archive: Path) -> list[str]:
        """Loads an image archive into the node."""
        return ["kind", "load", "image-archive", str(archive), "--name", self.name]

    def delete_command(self) -> list[str]:
        """Deletes the cluster."""
        command = ["kind", "delete", "cluster", "--name", self.name]
        return [*command, "--kubeconfig", str(self.kubeconfig)]

    def up(self, progress: Progress = silent) -> None:
        """Creates the cluster where it does not exist. Raises ClusterError."""
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}", progress=progress):
            listed = self._kind(["kind", "get", "clusters"], _QUICK)
            if self.name in listed.splitlines():
                self._kind(self.export_command(), _QUICK)
                return
            progress(f"kind: creating cluster {self.name}")
            image = self._image or node_image(self._engine, self._run)
            self._kind(self.create_command(image), _CREATE_TIMEOUT)

    def down(self, *, purge: bool = False, progress: Progress = silent) -> None:
        """Deletes the cluster; kind keeps no data of a deleted one, so `purge` adds only files."""
        if not self.layout.root.exists():
            return
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}", progress=progress):
            self._kind(self.delete_command(), 120.0)
            if purge:
                shutil.rmtree(self.layout.root)
        progress(f"kind: cluster {self.name} deleted")

    def load_image(self, archive: Path) -> bool:
        """Loads an OCI or Docker archive into the node; kind always loads. Raises ClusterError."""
        if not archive.is_file():
            raise ClusterError(f"There is no image archive {archive}")
        self._kind(self.load_command(archive), _CREATE_TIMEOUT)
        return True

    def _kind(self, command: list[str], timeout: float) -> str:
        result = self._run(command, self._engine.environment, timeout)
        if result.code:
            raise ClusterError(
                f"`{' '.join(command)}` ended with {result.code}: {result.output[-1500:]}"
            )
        return result.output


def _last_line(output: str) -> str:
    return output.splitlines()[-1] if output else "no reason given"
