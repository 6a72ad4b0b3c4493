"""One API server with etcd for a whole benchmark, and the harness's access to it."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from modelyard.kube.kinds import KubeKind
from modelyard_local.cluster import ControlPlane

from .api import SPACE, Api, Refused
from .etcd import Etcd
from .login import ACCOUNT, controllers_kubeconfig
from .processes import TooLong, until

MANAGER = "kube-controller-manager"
UNLIMITED = "100000"
"""Requests a second: more than any client here can send."""
ACCOUNTS = ("default", "modelyard-trainer", "modelyard-agent")

NAMESPACE = KubeKind("Namespace", "", "v1", "namespaces", "Namespace")
CRD = KubeKind(
    "CRD",
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
)
_BUILT_IN = (
    KubeKind("Pod", "", "v1", "pods", "Pod"),
    KubeKind("Job", "batch", "v1", "jobs", "Job"),
    KubeKind("Event", "", "v1", "events", "Event"),
    KubeKind("Service", "", "v1", "services", "Service"),
    KubeKind("apps/Deployment", "apps", "v1", "deployments", "Deployment"),
    KubeKind("Lease", "coordination.k8s.io", "v1", "leases", "Lease"),
)
_STORED_AS = {"services": "services/specs"}


@dataclass
class Site:
    """What the arms and benchmarks work with."""

    plane: ControlPlane
    api: Api
    etcd: Etcd
    folder: Path
    kubeconfig: Path
    """Of the controllers that the harness starts."""
    workers: int
    """Objects that each controller reconciles at the same time."""
    custom: list[KubeKind]
    """The kinds of the installed CRDs."""

    async def install(self, files: Sequence[Path]) -> None:
        """Creates CRDs and waits until they are served."""
        for path in files:
            body = yaml.safe_load(path.read_text())
            await self.api.create(CRD, body, namespace="")
            spec = body["spec"]
            version, plural = spec["versions"][0]["name"], spec["names"]["plural"]
            kind = KubeKind(plural, spec["group"], version, plural, "")
            self.custom.append(kind)
            await until(partial(self._served, kind.path()), 30, f"{plural} are served")

    async def empty(self) -> None:
        """Removes every object of the namespace. Raises TooLong."""
        stored = [_STORED_AS.get(kind.plural, kind.plural) for kind in _BUILT_IN]
        stored += [f"{kind.group}/{kind.plural}" for kind in self.custom]
        revision = await self.etcd.empty(stored)
        for kind in (*_BUILT_IN, *self.custom):
            await until(partial(self._empty, kind), 60, f"the API server sees no {kind.plural}")
        await self.etcd.compact(revision)

    async def settled(self, seconds: float = 300.0, quiet: float = 0.75) -> Counter[str]:
        """Waits until controllers have stopped writing; their writes so far. Raises TooLong.

        `quiet`: seconds without a write that count as having stopped, twice in a row.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        before, same = await self.api.controllers_writes(), 0
        while same < 2:
            if asyncio.get_running_loop().time() > deadline:
                raise TooLong(f"controllers still write after {seconds:.0f} s")
            await asyncio.sleep(quiet)
            now = await self.api.controllers_writes()
            same = same + 1 if now == before else 0
            before = now
        return before

    async def _empty(self, kind: KubeKind) -> bool:
        # From the API server's cache, which watches are served from too.
        path = f"{kind.path(SPACE)}?resourceVersion=0"
        try:
            return not (await self.api.get(path))["items"]
        except Refused:  # A kind without a namespace has none here.
            return True

    async def _served(self, path: str) -> bool:
        try:
            await self.api.get(path)
        except Refused:
            return False
        return True


@asynccontextmanager
async def site(workers: int) -> AsyncIterator[Site]:
    """Brings everything up, and down at the end. kube-controller-manager is there to be started,
    with its Job controller only, but does not run.

    The API server treats all clients alike: priority and fairness would exempt administrators but
    not kube-controller-manager's service accounts.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name:
        folder = Path(name)
        plane = ControlPlane(
            folder / "plane",
            controller_manager=True,
            more_flags={
                # 5,000 objects with all their revisions between two compactions.
                "etcd": [f"--quota-backend-bytes={8 * 2**30}"],
                "kube-apiserver": ["--enable-priority-and-fairness=false"],
                MANAGER: [
                    "--controllers=job-controller",
                    f"--kube-api-qps={UNLIMITED}",
                    f"--kube-api-burst={UNLIMITED}",
                    f"--concurrent-job-syncs={workers}",
                ],
            },
        )
        with plane:
            plane.processes.stop([MANAGER])
            api = await Api.open(plane.kubeconfig)
            try:
                await prepare(api)
                login = await controllers_kubeconfig(api, plane.kubeconfig, folder)
                yield Site(plane, api, Etcd(plane), folder, login, workers, [])
            finally:
                await api.close()


async def prepare(api: Api) -> None:
    """Makes the namespace of everything, with the accounts of its pods."""
    await api.create(NAMESPACE, {"metadata": {"name": SPACE}}, namespace="")
    # Pods need their account; no controller makes the default one here.
    for account in ACCOUNTS:
        await api.create(ACCOUNT, {"metadata": {"name": account}})


def free_port() -> int:
    """A port of loopback that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
