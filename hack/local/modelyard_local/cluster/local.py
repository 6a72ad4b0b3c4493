"""A whole one-node Kubernetes on this machine: control plane, kubelet, containerd, DNS, volumes.

Composes the pieces (components.py, node.py, addons.py, images.py) in the order in which each needs
the one before, and takes them down in reverse.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from modelyard_local.cluster import components, machine, network, node, podruntime, teardown
from modelyard_local.cluster.addons import apply_addons, mark_stopped
from modelyard_local.cluster.api import Api
from modelyard_local.cluster.bringup import bring_up
from modelyard_local.cluster.controlplane import ControlPlane
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import locked, write_atomic
from modelyard_local.cluster.images import PAUSE_IMAGE, ImageStore, write_pause_archive
from modelyard_local.cluster.network import Network
from modelyard_local.cluster.node import NodePlan
from modelyard_local.cluster.nodehealth import node_checks
from modelyard_local.cluster.paths import FULL_CLUSTER, Layout
from modelyard_local.cluster.processes import Component
from modelyard_local.cluster.progress import Progress, Ticker, duration, silent
from modelyard_local.cluster.status import ClusterStatus, ComponentStatus, component_statuses

_READY_TIMEOUT = 180.0
# Kubernetes' own grace period is 30 s; a stopped developer cluster need not wait that long.
_POD_GRACE = 5.0


class LocalCluster:
    """The cluster in `folder`. One at a time on a machine, as its network is the machine's.

    `up` and `down` may be called at any time, whatever the last call or a crash left.
    """

    mode = "full"

    def __init__(self, folder: Path, addresses: Network | None = None) -> None:
        self.layout = Layout(folder.absolute())
        self.name = folder.name
        self.network = addresses or Network()
        self.control_plane = ControlPlane(
            self.layout.root,
            controller_manager=True,
            scheduler=True,
            address=self.network.node_address,
            service_subnet=self.network.service_subnet,
            die_with_parent=False,
            more_tools=["kubelet", "kube-proxy", "kube-network-policies", "coredns", "kubectl"],
            more_ports=node.PORTS,
        )
        self.processes = self.control_plane.processes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def tools(self) -> list[str]:
        """The binaries that `up` needs; a caller may `ensure_all` them ahead."""
        return self.control_plane.tools

    def up(self, progress: Progress = silent) -> None:
        """Starts what is not running and waits until the node is Ready. Raises ClusterError."""
        self.check(progress)
        self.layout.make()
        ticker = Ticker()
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}", progress=progress):
            write_atomic(FULL_CLUSTER, str(self.layout.root))
            fresh = self._clear_if_no_pods()
            network.bring_up(self.network)
            plan = self._node_plan(self.control_plane.start_locked(progress))
            if fresh:
                mark_stopped(self._api(plan), plan.name)
            self._start_node(plan, progress)
        progress(f"cluster {self.name}: ready after {duration(ticker.elapsed)}")

    def check(self, progress: Progress = silent) -> None:
        """Makes sure that the cluster can run here, installing what is missing.

        Raises ClusterError.
        """
        machine.prepare(progress)
        self._refuse_second_cluster()
        node.check_socket_paths(self.layout)

    def down(self, *, purge: bool = False, progress: Progress = silent) -> None:
        """Stops every process and removes mounts and network; `purge` removes the data too.

        Raises ClusterError where something cannot be removed.
        """
        if not self.layout.root.exists():
            return
        if os.geteuid() != 0:
            raise ClusterError("Stopping the local cluster needs root: run the command with sudo")
        with locked(self.layout.lock, waiting_for=f"cluster {self.name}", progress=progress):
            self.processes.stop(
                ["kubelet", "volumes", "kube-proxy", "kube-network-policies", "coredns"]
            )
            progress("pods: stopping")
            teardown.end_pods(self.layout.root, _POD_GRACE)
            if self.processes.running("containerd"):
                teardown.wait_for_shims(self.layout.root, patience=5.0)
            self.processes.stop(["containerd", "kube-scheduler", "kube-controller-manager"])
            self.processes.stop(["kube-apiserver"])
            self.processes.stop(["etcd"])
            teardown.end_everything(self.layout.root)
            self._remove_remains()
            teardown.remove_fixed_folders()
            if self._owner() in (None, self.layout.root):
                network.tear_down()
                FULL_CLUSTER.unlink(missing_ok=True)
            if purge:
                shutil.rmtree(self.layout.root)
                self.layout.lock.unlink(missing_ok=True)
        progress(f"cluster {self.name}: stopped{' and removed' if purge else ''}")

    def status(self) -> ClusterStatus:
        """Check every component and the node; changes nothing."""
        rows: list[ComponentStatus] = []
        if self.layout.ports.exists():
            plan = self._node_plan(self.control_plane.plan({}))
            checks = self.control_plane.checks(plan.control_plane) | node_checks(
                plan, self._api(plan)
            )
            rows = component_statuses(checks, self.processes)
        return ClusterStatus(self.name, self.mode, self.kubeconfig, self.layout.logs, rows)

    def load_image(self, archive: Path) -> bool:
        """Imports an OCI or Docker archive into the node's containerd.

        Returns False where the very same images are there already. Raises ClusterError.
        """
        if not self.processes.running("containerd"):
            raise ClusterError(
                f"Cluster {self.name} is not running, so {archive.name} cannot be loaded: run "
                "`modelyard cluster up` first"
            )
        return ImageStore(node.socket(self.layout)).import_archive(archive)

    def left_overs(self) -> list[str]:
        """What is still there of a cluster that was brought down: should be empty."""
        root = self.layout.root
        return (
            [f"process {pid}" for pid in teardown.remaining_processes(root)]
            + [f"mount {path}" for path in teardown.mounts(root)]
            + network.left_overs()
        )

    def _node_plan(self, plan: components.ControlPlanePlan) -> NodePlan:
        authority = components.credentials(plan).authority
        return NodePlan(plan, authority, self.network, name=self.name)

    def _refuse_second_cluster(self) -> None:
        owner = self._owner()
        if owner is None or owner == self.layout.root:
            return
        other = LocalCluster(owner)
        if other.processes.running("kubelet"):
            raise ClusterError(
                f"The full cluster {other.layout.root} is running, and a machine holds only one: "
                f"stop it with `modelyard cluster down --name {other.name}`, or use "
                "`--mode control-plane`"
            )

    def _owner(self) -> Path | None:
        """The state folder of the full cluster that has the machine's network."""
        try:
            return Path(FULL_CLUSTER.read_text())
        except FileNotFoundError:
            return None

    def _clear_if_no_pods(self) -> bool:
        """Removes what pods left that no longer run; returns whether that is so for all of them."""
        if self.processes.running("containerd") or teardown.pods_alive(self.layout.root):
            return False
        self.processes.stop(["kubelet"])
        self._remove_remains()
        return True

    def _remove_remains(self) -> None:
        teardown.unmount(self.layout.root)
        teardown.remove_cgroups()
        teardown.remove_log_links(self.layout.logs / "pods")
        network.forget_addresses(node.ipam_folder(self.layout))
        shutil.rmtree(self.layout.node / "run", ignore_errors=True)

    def _start_node(self, plan: NodePlan, progress: Progress) -> None:
        checks = node_checks(plan, self._api(plan))

        def bring(*group: Component) -> None:
            bring_up(group, checks, self.processes, timeout=_READY_TIMEOUT, progress=progress)

        bring(podruntime.containerd(plan))
        self._import_pause_image()
        apply_addons(self._api(plan), self.network, plan.control_plane.ports["coredns/dns"])
        bring(
            node.kube_proxy(plan),
            node.network_policies(plan),
            node.coredns(plan),
            node.volumes(plan),
            podruntime.kubelet(plan),
        )

    def _import_pause_image(self) -> None:
        store = ImageStore(node.socket(self.layout))
        if PAUSE_IMAGE in store.digests():
            return
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "pause.tar"
            write_pause_archive(archive)
            store.import_archive(archive)

    def _api(self, plan: NodePlan) -> Api:
        signed = components.credentials(plan.control_plane)
        return Api(plan.control_plane.server, signed.authority.pair.certificate, signed.admin)
