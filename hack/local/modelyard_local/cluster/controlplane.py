"""A Kubernetes API server with etcd, and where wanted controllers, scheduler and fake nodes.

Needs neither root nor a container runtime, and any number run side by side: each has a folder and
ports of its own. Tests use it as a context manager, `LocalCluster` builds on it.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard_local.cluster import components, ports
from modelyard_local.cluster.binaries import ensure_all
from modelyard_local.cluster.bringup import ComponentFailed, bring_up
from modelyard_local.cluster.components import LOOPBACK, ControlPlanePlan, Credentials
from modelyard_local.cluster.files import locked
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import write_kubeconfig
from modelyard_local.cluster.probes import Check, HttpProbe
from modelyard_local.cluster.processes import Component, Processes
from modelyard_local.cluster.progress import Progress, silent

# Bounds for machines that are busy with other things; an idle one needs 5 s.
_READY_TIMEOUT = 180.0
_PORT_PATIENCE = 3.0


class ControlPlane:
    """etcd and kube-apiserver in `folder`, plus the components asked for.

    `start` may be called again at any time: it starts what is missing. With `die_with_parent` (the
    default, for tests) the processes end with the thread that called `start`, however that ends;
    without it they run until `stop`.

    >>> with ControlPlane(tmp_path, controller_manager=True) as cluster:
    ...     client = connect(cluster.kubeconfig)
    """

    def __init__(
        self,
        folder: Path,
        *,
        controller_manager: bool = False,
        scheduler: bool = False,
        kwok: bool = False,
        kwok_stages: Path = components.KWOK_STAGES,
        name: str = "",
        address: str = LOOPBACK,
        service_subnet: str = "10.96.0.0/16",
        die_with_parent: bool = True,
        more_tools: Sequence[str] = (),
        more_ports: Sequence[str] = (),
        more_flags: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`more_flags` (component → flags) come last, where they override the usual ones."""
        self.layout = Layout(folder.absolute())
        self.name = name or folder.name
        self.processes = Processes(self.layout, die_with_parent=die_with_parent)
        self._address = address
        self._service_subnet = service_subnet
        self._kwok_stages = kwok_stages
        self._more_tools = list(more_tools)
        self._more_ports = list(more_ports)
        self._more_flags = {name: list(flags) for name, flags in (more_flags or {}).items()}
        self._optional = {
            "kube-controller-manager": controller_manager,
            "kube-scheduler": scheduler,
            "kwok": kwok,
        }

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; self-contained, valid while the folder exists."""
        return self.layout.kubeconfig

    @property
    def component_names(self) -> list[str]:
        """The components, in the order in which they start."""
        return ["etcd", "kube-apiserver", *(name for name, on in self._optional.items() if on)]

    @property
    def tools(self) -> list[str]:
        """The binaries that `start` needs."""
        return [*self.component_names, *self._more_tools]

    def start(self, progress: Progress = silent) -> Self:
        """Brings every component up and waits until all are healthy.

        Raises ClusterError with the end of the log of the component that failed.
        """
        self.layout.make()
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}", progress=progress):
            self.start_locked(progress)
        return self

    def start_locked(self, progress: Progress = silent) -> ControlPlanePlan:
        """`start` for a caller that holds the cluster's lock; returns what was started."""
        binaries = ensure_all(self.tools, progress)
        for _attempt in range(2):
            plan = self.plan(binaries)
            try:
                return self._bring_up(plan, progress)
            except ComponentFailed as failure:
                if not failure.port_taken:
                    raise
                # Another program took the port between our check and the component's start.
                progress(f"{failure.component}: its port was taken meanwhile, trying another")
                ports.forget(self.layout.ports, [failure.component, "etcd/peer"])
        return self._bring_up(self.plan(binaries), progress)

    def stop(self, *, purge: bool = False) -> None:
        """Stops every component; `purge` removes the folder too."""
        if not self.layout.root.exists():
            return
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}"):
            # What reads and writes first, the database last.
            for name in reversed(list(dict.fromkeys([*self.component_names, *self._known()]))):
                self.processes.stop([name])
            if purge:
                shutil.rmtree(self.layout.root)
                self.layout.lock.unlink(missing_ok=True)

    def checks(self, plan: ControlPlanePlan | None = None) -> dict[str, Check]:
        """Health checks by component name, for a cluster that has been started before."""
        plan = plan or self.plan({})
        signed = components.credentials(plan)
        made: dict[str, Check] = {
            "etcd": HttpProbe(
                f"https://{LOOPBACK}:{plan.ports['etcd']}/health",
                signed.etcd_authority.pair.certificate,
                signed.etcd_client,
            ).check,
            "kube-apiserver": HttpProbe(
                f"{plan.server}/readyz", signed.authority.pair.certificate, signed.admin
            ).check,
        }
        for name in self.component_names[2:]:
            scheme = "http" if name == "kwok" else "https"
            made[name] = HttpProbe(f"{scheme}://{LOOPBACK}:{plan.ports[name]}/healthz").check
        return made

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _known(self) -> list[str]:
        # Components of an earlier start with other options.
        every = ["etcd", "kube-apiserver", *self._optional]
        return [name for name in every if name in self.processes.known()]

    def plan(self, binaries: dict[str, Path]) -> ControlPlanePlan:
        """What the components' commands depend on; picks ports at the first call."""
        network = ipaddress.ip_network(self._service_subnet)
        return ControlPlanePlan(
            name=self.name,
            layout=self.layout,
            binaries=binaries,
            ports=ports.remembered(
                self.layout.ports, [*self.component_names, "etcd/peer", *self._more_ports]
            ),
            address=self._address,
            service_subnet=self._service_subnet,
            service_address=str(network[1]),
        )

    def _bring_up(self, plan: ControlPlanePlan, progress: Progress) -> ControlPlanePlan:
        self.processes.stop([each for each in self._known() if each not in self.component_names])
        self._free_ports(plan, progress)
        plan = self.plan(dict(plan.binaries))
        signed = components.credentials(plan)
        write_kubeconfig(
            self.kubeconfig,
            cluster=self.name,
            server=plan.server,
            authority=signed.authority.pair.certificate,
            user=signed.admin,
        )
        checks = self.checks(plan)
        for batch in (self.component_names[:2], self.component_names[2:]):
            # etcd and kube-apiserver at once: the API server retries until etcd answers.
            group = [self._component(name, plan, signed) for name in batch]
            bring_up(group, checks, self.processes, timeout=_READY_TIMEOUT, progress=progress)
        return plan

    def _free_ports(self, plan: ControlPlanePlan, progress: Progress) -> None:
        """Gives up remembered ports of stopped components that another program holds now."""
        taken = []
        for name, port in plan.ports.items():
            owner = name.partition("/")[0]
            address = plan.address if name in ("kube-apiserver", "coredns/dns") else LOOPBACK
            if self.processes.running(owner) is None and not ports.becomes_free(
                port, address, _PORT_PATIENCE
            ):
                progress(f"{name}: port {port} is taken by another program, using another")
                taken.append(name)
        ports.forget(self.layout.ports, taken)

    def _component(self, name: str, plan: ControlPlanePlan, signed: Credentials) -> Component:
        makers: dict[str, Callable[[ControlPlanePlan, Credentials], Component]] = {
            "etcd": components.etcd,
            "kube-apiserver": components.kube_apiserver,
            "kube-controller-manager": components.kube_controller_manager,
            "kube-scheduler": components.kube_scheduler,
            "kwok": lambda plan, signed: components.kwok(plan, signed, self._kwok_stages),
        }
        made = makers[name](plan, signed)
        return replace(made, command=[*made.command, *self._more_flags.get(name, ())])
