"""The node's containerd and kubelet, which run its pods.

Written for a machine inside a virtual machine or a container: cgroup v1, no CAP_SYS_RESOURCE, no
registry. The node's other components: node.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelyard_local.cluster import machine
from modelyard_local.cluster.components import LOOPBACK, component_kubeconfig
from modelyard_local.cluster.files import write_atomic
from modelyard_local.cluster.images import PAUSE_IMAGE
from modelyard_local.cluster.network import cni_configuration
from modelyard_local.cluster.node import (
    NodePlan,
    host_resolv_conf,
    ipam_folder,
    root_environment,
    socket,
)
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import Pair
from modelyard_local.cluster.processes import Component

KUBELET_PORT = 10250


def containerd(plan: NodePlan) -> Component:
    """An own instance: root, state, socket and configuration in the cluster's folder."""
    layout = plan.layout
    cni_plugins = machine.cni_folder()
    cni = layout.config / "cni"
    write_atomic(
        cni / "10-modelyard.conflist",
        json.dumps(cni_configuration(plan.network, ipam_folder(layout)), indent=2),
    )
    config = layout.config / "containerd.toml"
    write_atomic(config, _containerd_toml(layout, cni_plugins, cni))
    command = [machine.required_program("containerd"), "--config", str(config)]
    return Component("containerd", command, root_environment(), reads=[config])


def _containerd_toml(layout: Layout, cni_plugins: Path | None, cni: Path) -> str:
    """containerd's configuration; `cni` is the folder with the network's."""
    # overlayfs does not nest: on a container's own root file system layers are copied.
    nested = machine.file_system(layout.node) == "overlay"
    return f"""version = 2
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
"""


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
    write_atomic(config, json.dumps(_kubelet_settings(plan, serving), indent=2))
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
        "kubelet", command, root_environment(), reads=[config, kubeconfig, serving.certificate]
    )


def _kubelet_settings(plan: NodePlan, serving: Pair) -> dict[str, Any]:
    """The kubelet's configuration; `serving` is its server's certificate."""
    layout = plan.layout
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.network.node_address,
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


def _toml(value: bool) -> str:
    return "true" if value else "false"
