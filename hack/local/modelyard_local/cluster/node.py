"""The node's components: containerd, kubelet, kube-proxy, kube-network-policies, CoreDNS.

Pure but for written files. Written for a machine inside a virtual machine or a container: cgroup
v1, no CAP_SYS_RESOURCE, no registry. Control plane: components.py.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_local.cluster import machine
from modelyard_local.cluster.components import (
    LOOPBACK,
    ControlPlanePlan,
    component_kubeconfig,
    environment,
)
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import write_atomic
from modelyard_local.cluster.images import PAUSE_IMAGE
from modelyard_local.cluster.network import Network, cni_configuration
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import Authority
from modelyard_local.cluster.processes import Component

KUBELET_PORT = 10250
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


def containerd(plan: NodePlan) -> Component:
    """An own instance: root, state, socket and configuration in the cluster's folder."""
    layout = plan.layout
    cni_plugins = machine.cni_folder()
    cni = layout.config / "cni"
    write_atomic(
        cni / "10-modelyard.conflist",
        json.dumps(cni_configuration(plan.network, ipam_folder(layout)), indent=2),
    )
    # overlayfs does not nest: on a container's own root file system layers are copied.
    nested = machine.file_system(layout.node) == "overlay"
    config = layout.config / "containerd.toml"
    write_atomic(
        config,
        f"""version = 2
root = "{layout.node}/containerd"
state = "{layout.node}/run/containerd"
# Only containerd's own services: others' plugins would make folders in /opt or look for devices.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket(layout)}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Lowering an OOM score needs CAP_SYS_RESOURCE; without it every sandbox would fail.
  restrict_oom_score_adj = {_toml(not machine.may_lower_oom_score())}
  # Network namespaces as mounts in our folder, so that nothing of them is left after `down`.
  netns_mounts_under_state_dir = true
  # A pod may bind port 80 and ping without capabilities, as on other runtimes.
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{cni}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{"native" if nested else "overlayfs"}"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{machine.required_program("runc")}"
        Root = "{layout.node}/run/runc"
        SystemdCgroup = false
""",
    )
    command = [machine.required_program("containerd"), "--config", str(config)]
    return Component("containerd", command, _root_environment(), reads=[config])


def kubelet(plan: NodePlan) -> Component:
    """The node itself, reachable only on the bridge."""
    layout, address = plan.layout, plan.network.node_address
    kubeconfig = component_kubeconfig(
        plan.control_plane, plan.authority, "kubelet", f"system:node:{plan.name}", "system:nodes"
    )
    serving = plan.authority.issue(
        "kubelet-server", common_name=f"system:node:{plan.name}", hosts=[plan.name, address]
    )
    config = layout.config / "kubelet.json"
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": KUBELET_PORT,
        "healthzBindAddress": LOOPBACK,
        "healthzPort": plan.control_plane.ports["kubelet"],
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plan.authority.pair.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{socket(layout)}",
        "clusterDNS": [plan.network.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(host_resolv_conf()),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # A developer's machine runs other things too: the node takes what it gets.
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        # Images come from archives: one that is collected cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "maxPods": 200,
        "podLogsDir": str(layout.logs / "pods"),
        "volumePluginDir": str(layout.config / "volume-plugins"),
        # Node status and pod statuses arrive as they happen, not after the client's throttle.
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }
    write_atomic(config, json.dumps(settings, indent=2))
    command = [
        str(plan.control_plane.binaries["kubelet"]),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={layout.node}/kubelet",
        f"--cert-dir={layout.pki}/kubelet",
        f"--hostname-override={plan.name}",
        f"--node-ip={address}",
    ]
    return Component(
        "kubelet", command, _root_environment(), reads=[config, kubeconfig, serving.certificate]
    )


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
    return Component("kube-proxy", command, _root_environment(), reads=[config, kubeconfig])


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
    return Component("kube-network-policies", command, _root_environment(), reads=[kubeconfig])


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


def _root_environment() -> dict[str, str]:
    own = environment()
    own["PATH"] = f"{own.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return own


def _toml(value: bool) -> str:
    return "true" if value else "false"
