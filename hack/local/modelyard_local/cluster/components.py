"""The command line of each control plane component. Pure: what to run, not how.

One function a component, so that each flag has one place with its reason. The node's components:
node.py; who starts and supervises them: processes.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import Authority, Pair, signing_key, write_kubeconfig
from modelyard_local.cluster.processes import Component

LOOPBACK = "127.0.0.1"
KWOK_STAGES = Path(__file__).parent / "kwok-stages.yaml"
_COMMON_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG")


@dataclass(frozen=True)
class ControlPlanePlan:
    """What the control plane's commands depend on."""

    name: str
    layout: Layout
    binaries: Mapping[str, Path]
    ports: Mapping[str, int]
    address: str
    """Where kube-apiserver listens; pods must reach it in a full cluster."""
    service_subnet: str
    service_address: str
    """The first address of `service_subnet`: kubernetes.default."""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.ports['kube-apiserver']}"


@dataclass(frozen=True)
class Credentials:
    """Everything signed for a cluster."""

    authority: Authority
    etcd_authority: Authority
    proxy_authority: Authority
    etcd: Pair
    etcd_client: Pair
    server: Pair
    kubelet_client: Pair
    proxy_client: Pair
    admin: Pair
    service_accounts: Pair


def environment() -> dict[str, str]:
    """What components inherit: no proxy settings, tokens or KUBECONFIG of the user."""
    return {name: os.environ[name] for name in _COMMON_ENVIRONMENT if name in os.environ}


def credentials(plan: ControlPlanePlan) -> Credentials:
    """Issues what is missing or about to expire. Separate authorities, so that no client of the
    API server may talk to etcd and only the aggregator may speak for other users."""
    folder = plan.layout.pki
    authority = Authority(folder, "ca")
    etcd_authority = Authority(folder, "etcd-ca")
    proxy_authority = Authority(folder, "front-proxy-ca")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += ["kubernetes.default.svc.cluster.local", "localhost", LOOPBACK]
    return Credentials(
        authority=authority,
        etcd_authority=etcd_authority,
        proxy_authority=proxy_authority,
        etcd=etcd_authority.issue("etcd", common_name="etcd", hosts=["localhost", LOOPBACK]),
        etcd_client=etcd_authority.issue("etcd-client", common_name="kube-apiserver"),
        server=authority.issue(
            "apiserver",
            common_name="kube-apiserver",
            hosts=[*names, plan.address, plan.service_address],
        ),
        kubelet_client=authority.issue(
            "apiserver-kubelet-client",
            common_name="kube-apiserver-kubelet-client",
            organizations=["system:masters"],
        ),
        proxy_client=proxy_authority.issue("front-proxy-client", common_name="front-proxy-client"),
        admin=authority.issue(
            "admin", common_name="kubernetes-admin", organizations=["system:masters"]
        ),
        service_accounts=signing_key(folder, "service-accounts"),
    )


def component_kubeconfig(
    plan: ControlPlanePlan, authority: Authority, name: str, user: str, *groups: str
) -> Path:
    """Writes the kubeconfig with which a component called `name` speaks as `user`."""
    path = plan.layout.component_kubeconfig(name)
    write_kubeconfig(
        path,
        cluster=plan.name,
        server=plan.server,
        authority=authority.pair.certificate,
        user=authority.issue(name, common_name=user, organizations=groups),
    )
    return path


def etcd(plan: ControlPlanePlan, signed: Credentials) -> Component:
    """A single member on loopback, TLS both ways.

    Without fsync: writes survive a killed process, not a power cut, and a slow disk (an image being
    unpacked) cannot stall the whole cluster.
    """
    url = f"https://{LOOPBACK}:{plan.ports['etcd']}"
    peer = f"https://{LOOPBACK}:{plan.ports['etcd/peer']}"
    trust = str(signed.etcd_authority.pair.certificate)
    command = [
        str(plan.binaries["etcd"]),
        "--name=default",
        f"--data-dir={plan.layout.etcd}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--snapshot-count=10000",
        "--auto-compaction-retention=30m",
        "--log-level=warn",
    ]
    for prefix in ("", "peer-"):
        command += [
            f"--{prefix}cert-file={signed.etcd.certificate}",
            f"--{prefix}key-file={signed.etcd.key}",
            f"--{prefix}trusted-ca-file={trust}",
            f"--{prefix}client-cert-auth",
        ]
    return Component("etcd", command, environment(), reads=[signed.etcd.certificate])


def kube_apiserver(plan: ControlPlanePlan, signed: Credentials) -> Component:
    """The API server with the Node and RBAC authorizers and the aggregation layer."""
    command = [
        str(plan.binaries["kube-apiserver"]),
        f"--etcd-servers=https://{LOOPBACK}:{plan.ports['etcd']}",
        f"--etcd-cafile={signed.etcd_authority.pair.certificate}",
        f"--etcd-certfile={signed.etcd_client.certificate}",
        f"--etcd-keyfile={signed.etcd_client.key}",
        f"--bind-address={plan.address}",
        f"--advertise-address={plan.address}",
        f"--secure-port={plan.ports['kube-apiserver']}",
        f"--tls-cert-file={signed.server.certificate}",
        f"--tls-private-key-file={signed.server.key}",
        f"--client-ca-file={signed.authority.pair.certificate}",
        f"--kubelet-certificate-authority={signed.authority.pair.certificate}",
        f"--kubelet-client-certificate={signed.kubelet_client.certificate}",
        f"--kubelet-client-key={signed.kubelet_client.key}",
        # The node's name is in no DNS.
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={signed.proxy_client.certificate}",
        f"--proxy-client-key-file={signed.proxy_client.key}",
        f"--requestheader-client-ca-file={signed.proxy_authority.pair.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={signed.service_accounts.certificate}",
        f"--service-account-signing-key-file={signed.service_accounts.key}",
        f"--service-cluster-ip-range={plan.service_subnet}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        # Operators and load tests come from one address; the defaults throttle them first.
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        "--shutdown-delay-duration=0s",
    ]
    if plan.address == LOOPBACK:
        # An Endpoints address must not be loopback; nothing in such a cluster needs it.
        command += ["--endpoint-reconciler-type=none"]
    return Component("kube-apiserver", command, environment(), reads=[signed.server.certificate])


def kube_controller_manager(plan: ControlPlanePlan, signed: Credentials) -> Component:
    """All controllers, each with its own service account."""
    kubeconfig = component_kubeconfig(
        plan, signed.authority, "kube-controller-manager", "system:kube-controller-manager"
    )
    command = [
        str(plan.binaries["kube-controller-manager"]),
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={plan.ports['kube-controller-manager']}",
        f"--cert-dir={plan.layout.pki}/kube-controller-manager",
        f"--root-ca-file={signed.authority.pair.certificate}",
        f"--cluster-signing-cert-file={signed.authority.pair.certificate}",
        f"--cluster-signing-key-file={signed.authority.pair.key}",
        f"--service-account-private-key-file={signed.service_accounts.key}",
        f"--flex-volume-plugin-dir={plan.layout.config}/volume-plugins",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # The default of 20 makes 8 Jobs a second.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
    return Component("kube-controller-manager", command, environment(), reads=[kubeconfig])


def kube_scheduler(plan: ControlPlanePlan, signed: Credentials) -> Component:
    """The default scheduler."""
    kubeconfig = component_kubeconfig(
        plan, signed.authority, "kube-scheduler", "system:kube-scheduler"
    )
    command = [
        str(plan.binaries["kube-scheduler"]),
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={plan.ports['kube-scheduler']}",
        f"--cert-dir={plan.layout.pki}/kube-scheduler",
        "--leader-elect=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
    return Component("kube-scheduler", command, environment(), reads=[kubeconfig])


def kwok(plan: ControlPlanePlan, signed: Credentials, stages: Path = KWOK_STAGES) -> Component:
    """Fakes the nodes that carry the annotation `kwok.x-k8s.io/node`, and their pods."""
    kubeconfig = component_kubeconfig(
        plan, signed.authority, "kwok", "modelyard:kwok", "system:masters"
    )
    command = [
        str(plan.binaries["kwok"]),
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node",
        "--node-ip=10.0.0.1",
        "--cidr=10.0.0.0/16",
        "--node-lease-duration-seconds=40",
        f"--server-address={LOOPBACK}:{plan.ports['kwok']}",
    ]
    return Component("kwok", command, environment(), reads=[kubeconfig, stages])
