"""A cluster with a fleet of KWOK nodes, the operator, and the simulator that plays all agents.

What runs is real but for the nodes: etcd, kube-apiserver, the DaemonSet controller of
kube-controller-manager, kube-scheduler, KWOK, the operator. The node controller does not run: no
kubelet renews Leases here, and the harness says which node is NotReady.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.contract import paths
from modelyard.contract.run import AgentRun, parse_run
from modelyard.kube.kinds import by_name
from modelyard_local.cluster import ControlPlane

from .. import ours
from ..api import Manifest
from ..etcd import Etcd
from ..login import controllers_kubeconfig
from ..processes import until
from ..report import Say
from ..site import MANAGER, Site, prepare
from . import nodes, objects
from .api import FleetApi
from .config import FleetConfig
from .meters import Meter, Seen
from .simulator import Simulator

DAEMON_SETS = by_name("apps/DaemonSet")
STAGES = Path(__file__).with_name("kwok-stages.yaml")
PLENTY = "5000"


@dataclass
class FleetSite:
    """What the parts of the benchmark work with."""

    base: Site
    api: FleetApi
    operator: ours.Operator
    simulator: Simulator
    config: FleetConfig
    seen: Seen
    say: Say
    deadline: float
    """Seconds that one step may take."""
    count: int = 0
    """Nodes."""
    phases: list[tuple[str, float]] = field(default_factory=list)
    """How long what took, in seconds."""

    @property
    def meter(self) -> Meter:
        """Reads counters."""
        return Meter(self.base.plane, self.operator)

    async def grow(self, count: int) -> None:
        """Adds nodes until there are so many, and waits for their servers. Raises TooLong."""
        begun = time.monotonic()
        await nodes.add(self.api, range(self.count, count))
        self.count = count
        self._note(f"{count} nodes", begun)
        if self.seen.latest:
            await self.all_served(list(self.seen.latest))

    async def deploy(self, *manifests: Manifest) -> None:
        """Releases version 1 of each and waits until it is everywhere, as if for an hour."""
        self.simulator.mature = True
        for manifest in manifests:
            name = manifest["metadata"]["name"]
            await objects.release(self.api, name, 1)
            await self.api.create(objects.DEPLOYMENT, manifest)
        names = [manifest["metadata"]["name"] for manifest in manifests]
        await until(lambda: self._runs(names), self.deadline, "DaemonSets")
        await self.all_served(names)

    async def all_served(self, names: list[str]) -> None:
        """Waits until every node has a server that serves, and the operator agrees."""
        self.simulator.mature = True
        wanted, begun = self.count * len(names), time.monotonic()
        told = 0

        async def made() -> bool:
            nonlocal told
            there = len(self.simulator.agents)
            if there >= told + wanted / 4:
                told = there
                self.say(f"{there} of {wanted} servers")
            return there >= wanted

        await until(made, self.deadline, f"{wanted} ModelServers", pause=0.5)
        self._note(f"{wanted} servers", begun)
        begun = time.monotonic()
        for name in names:
            await self.healthy(name)
        self._note("all serve", begun)
        self.simulator.mature = False

    async def healthy(self, name: str, version: int | None = None) -> None:
        """Waits until a Deployment is Healthy, with a version if one is given, and shows as many
        servers up to date as there are online. Raises TooLong."""

        async def check() -> bool:
            status = self.seen.status(name)
            stable = (status.get("stable") or {}).get("version")
            servers = int(status.get("replicas") or 0)
            updated = int(status.get("updatedReplicas") or 0)
            dark = int(status.get("offlineReplicas") or 0)
            return (
                status.get("phase") == "Healthy"
                and (version is None or stable == version)
                and servers == self.count
                and updated + dark >= servers
            )

        what = f"{name} is healthy"
        try:
            await until(check, self.deadline, what, pause=0.05)
        except Exception as error:
            error.add_note(self.trouble(name))
            raise

    def trouble(self, name: str) -> str:
        """What a Deployment said, and the operator's last words."""
        told = ", ".join(words for _, words in self.seen.history.get(name, ())[-8:])
        status = {k: v for k, v in self.seen.status(name).items() if k != "history"}
        log = self.operator.process.last_words(4000)
        return f"{told}\n{status}\nlog in {self.base.folder}:\n{log}"

    def pods(self) -> dict[str, list[str]]:
        """Serving pods by node."""
        found: dict[str, list[str]] = {}
        for agent in self.simulator.agents.values():
            if agent.server is not None:
                found.setdefault(agent.node, []).append(agent.server["spec"]["podName"])
        return found

    async def darken(self, names: Iterable[str]) -> None:
        """Cuts nodes off: their agents fall silent at once, then they are NotReady."""
        chosen = list(names)
        self.simulator.cut_off(chosen)
        await nodes.darken(self.api, chosen, self.pods())

    async def lighten(self, names: Iterable[str]) -> None:
        """Lets them back."""
        chosen = list(names)
        await nodes.lighten(self.api, chosen, self.pods())
        self.simulator.let_back(chosen)

    def _note(self, what: str, begun: float) -> None:
        took = time.monotonic() - begun
        self.phases.append((what, round(took, 1)))
        self.say(f"{what}: {took:.1f} s")

    async def _runs(self, names: list[str]) -> bool:
        """Whether DaemonSets are there; takes the report period from the pods' run spec."""
        found = await self.api.items(DAEMON_SETS)
        if len(found) < len(names):
            return False
        template = found[0]["spec"]["template"]["metadata"]["annotations"]
        run = parse_run(template[paths.RUN_ANNOTATION])
        assert isinstance(run, AgentRun)
        self.config.report_seconds = float(run.report_seconds)
        return True


@asynccontextmanager
async def fleet_site(
    config: FleetConfig, count: int, say: Say, *, deadline: float
) -> AsyncIterator[FleetSite]:
    """Brings everything up with so many nodes, and down at the end."""
    with tempfile.TemporaryDirectory(prefix="modelyard-fleet-") as name:
        folder = Path(name)
        plane = ControlPlane(
            folder / "plane",
            controller_manager=True,
            scheduler=True,
            kwok=True,
            kwok_stages=STAGES,
            more_flags={
                "etcd": [f"--quota-backend-bytes={8 * 2**30}"],
                "kube-apiserver": [
                    "--enable-priority-and-fairness=false",
                    "--disable-admission-plugins=TaintNodesByCondition",
                ],
                MANAGER: [
                    "--controllers=daemonset-controller",
                    f"--kube-api-qps={PLENTY}",
                    f"--kube-api-burst={PLENTY}",
                ],
                "kube-scheduler": [f"--kube-api-qps={PLENTY}", f"--kube-api-burst={PLENTY}"],
                "kwok": ["--node-lease-duration-seconds=0"],
            },
        )
        begun = time.monotonic()
        with plane:
            api = await FleetApi.open(plane.kubeconfig)
            try:
                async with _prepared(plane, api, folder, config, say, deadline) as made:
                    made._note("control plane and operator", begun)
                    await made.grow(count)
                    yield made
            finally:
                await api.close()


@asynccontextmanager
async def _prepared(
    plane: ControlPlane,
    api: FleetApi,
    folder: Path,
    config: FleetConfig,
    say: Say,
    deadline: float,
) -> AsyncIterator[FleetSite]:
    await prepare(api)
    login = await controllers_kubeconfig(api, plane.kubeconfig, folder)
    base = Site(plane, api, Etcd(plane), folder, login, 16, [])
    await base.install(ours.crd_files())
    operator = ours.Operator(base)
    operator.process.start()
    try:
        await until(operator.synced, 60, "the operator is synced")
        seen = Seen()
        async with (
            Simulator.running(plane.kubeconfig, config, api.written) as simulator,
            api.watching(objects.DEPLOYMENT, seen.take, metadata_only=False),
        ):
            yield FleetSite(base, api, operator, simulator, config, seen, say, deadline)
    finally:
        operator.process.stop()
