"""The node: what its components depend on, kube-proxy, kube-network-policies, CoreDNS, volumes.

Pure but for written files. containerd and kubelet: podruntime.py. Control plane: components.py.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from modelyard_local.cluster.components import (
    LOOPBACK,
    ControlPlanePlan,
    component_kubeconfig,
    environment,
)
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import write_atomic
from modelyard_local.cluster.network import Network
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import Authority
from modelyard_local.cluster.processes import Component

# sockaddr_un.sun_path holds 108 bytes with the final zero.
_SOCKET_LIMIT = 107
_LONGEST_SOCKET = "kubelet/device-plugins/kubelet.sock.12345678"
# Each belongs to the component before the slash.
PORTS = (
    "kubelet",
    "kube-proxy",
    "kube-proxy/metrics",
    "kube-network-policies",
    "coredns",
    "coredns/ready",
    "coredns/dns",
)


@dataclass(frozen=True)
class NodePlan:
    """What the node's components depend on."""

    control_plane: ControlPlanePlan
    authority: Authority
    network: Network
    name: str

    @property
    def layout(self) -> Layout:
        """The cluster's folders."""
        return self.control_plane.layout


def check_socket_paths(layout: Layout) -> None:
    """Raises ClusterError where the state folder's path is too long for Unix sockets."""
    if len(str(layout.node / _LONGEST_SOCKET)) > _SOCKET_LIMIT:
        most = _SOCKET_LIMIT - len(f"/node/{_LONGEST_SOCKET}")
        raise ClusterError(
            f"The state folder {layout.root} has too long a path for Unix sockets (at most {most} "
            "characters): set XDG_STATE_HOME to a shorter one"
        )


def socket(layout: Layout) -> Path:
    """containerd's socket; not the system's."""
    return layout.node / "run/containerd.sock"


def ipam_folder(layout: Layout) -> Path:
    """Where host-local keeps the pods' addresses."""
    return layout.node / "ipam"


def kube_proxy(plan: NodePlan) -> Component:
    """Services by nftables, for pods and for the machine itself."""
    kubeconfig = component_kubeconfig(
        plan.control_plane, plan.authority, "kube-proxy", "system:kube-proxy"
    )
    ports = plan.control_plane.ports
    config = plan.layout.config / "kube-proxy.json"
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": plan.network.pod_subnet,
        "hostnameOverride": plan.name,
        "healthzBindAddress": f"{LOOPBACK}:{ports['kube-proxy']}",
        "metricsBindAddress": f"{LOOPBACK}:{ports['kube-proxy/metrics']}",
        # The machine's own connection tracking limits are not ours to change.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    write_atomic(config, json.dumps(settings, indent=2))
    command = [str(plan.control_plane.binaries["kube-proxy"]), f"--config={config}"]
    return Component("kube-proxy", command, root_environment(), reads=[config, kubeconfig])


def network_policies(plan: NodePlan) -> Component:
    """Enforces NetworkPolicies between pods. What a pod sends to the node itself (API server, DNS)
    it does not see."""
    kubeconfig = component_kubeconfig(
        plan.control_plane,
        plan.authority,
        "kube-network-policies",
        "modelyard:network-policies",
    )
    command = [
        str(plan.control_plane.binaries["kube-network-policies"]),
        f"--kubeconfig={kubeconfig}",
        f"--node={plan.name}",
        f"--health={LOOPBACK}:{plan.control_plane.ports['kube-network-policies']}",
    ]
    return Component("kube-network-policies", command, root_environment(), reads=[kubeconfig])


def coredns(plan: NodePlan) -> Component:
    """Cluster DNS as a process of the node: it needs no image and answers before any pod runs."""
    kubeconfig = component_kubeconfig(
        plan.control_plane, plan.authority, "coredns", "system:coredns"
    )
    ports = plan.control_plane.ports
    upstream = host_resolv_conf()
    forward = f"forward . {upstream}" if _has_nameserver(upstream) else ""
    config = plan.layout.config / "Corefile"
    write_atomic(
        config,
        f""".:{ports["coredns/dns"]} {{
    bind {plan.network.node_address}
    errors
    health {LOOPBACK}:{ports["coredns"]}
    ready {LOOPBACK}:{ports["coredns/ready"]}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    {forward}
    cache 10
    loadbalance
}}
""",
    )
    command = [str(plan.control_plane.binaries["coredns"]), "-conf", str(config)]
    return Component("coredns", command, environment(), reads=[config, kubeconfig])


def volumes(plan: NodePlan) -> Component:
    """Keeps PersistentVolumes in stock (see `volumes.py`)."""
    kubeconfig = component_kubeconfig(
        plan.control_plane, plan.authority, "volumes", "modelyard:volumes"
    )
    command = [sys.executable, "-m", "modelyard_local.cluster.volumes", str(plan.layout.root)]
    command += ["--server", plan.control_plane.server, "--node", plan.name]
    own = environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    return Component("volumes", command, own, reads=[kubeconfig])


def host_resolv_conf() -> Path:
    """The machine's name servers as others may use them: systemd's stub is on loopback only."""
    resolved = Path("/run/systemd/resolve/resolv.conf")
    return resolved if resolved.exists() else Path("/etc/resolv.conf")


def _has_nameserver(file: Path) -> bool:
    try:
        return any(line.startswith("nameserver") for line in file.read_text().splitlines())
    except FileNotFoundError:
        return False


def root_environment() -> dict[str, str]:
    """The components' environment, with the folders of programs that only root has on PATH."""
    own = environment()
    own["PATH"] = f"{own.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return own
