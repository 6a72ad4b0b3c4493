"""The node's network: a bridge for pods, routes, and rules that let them out. All of it removable.

The bridge's own address is the node's address: it does not change when the machine moves between
networks, and nobody outside the machine can reach the API server, kubelet or NodePorts.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.machine import program_path, required_program

BRIDGE = "modelyard0"
_TABLE = "modelyard"
_TABLES = (f"ip {_TABLE}", "ip kube-proxy", "ip6 kube-proxy", "inet kube-network-policies")
"""Of `bring_up`, kube-proxy, kube-network-policies."""
_POLICIES = "MODELYARD-POLICIES"
"""Chain of iptables' table mangle that leads packets to kube-network-policies."""
_QUEUE = 100
"""Netfilter queue that kube-network-policies reads, its default."""
_CNI_CACHE = Path("/var/lib/cni/results")
_SYSCTL = Path("/proc/sys/net")


@dataclass(frozen=True)
class Network:
    """The addresses of a cluster."""

    pod_subnet: str = "10.244.0.0/24"
    service_subnet: str = "10.96.0.0/16"

    @staticmethod
    def check_subnet(what: str, value: str) -> None:
        """Raises ClusterError where `value` is no private IPv4 subnet of at least 64 addresses."""
        try:
            subnet = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise ClusterError(f"The {what} {value} is not an IPv4 subnet: {error}") from error
        if subnet.prefixlen > 26 or not subnet.is_private:
            raise ClusterError(
                f"The {what} {value} must be private and hold at least 64 addresses (/26)"
            )

    @property
    def node_address(self) -> str:
        """The bridge's address: node, gateway of the pods, API server."""
        return str(ipaddress.ip_network(self.pod_subnet)[1])

    @property
    def dns_address(self) -> str:
        """The ClusterIP of kube-dns, by convention the tenth address."""
        return str(ipaddress.ip_network(self.service_subnet)[10])

    @property
    def prefix_length(self) -> int:
        """Of the pod subnet."""
        return ipaddress.ip_network(self.pod_subnet).prefixlen


def cni_configuration(network: Network, ipam_folder: Path) -> dict[str, Any]:
    """The CNI network list: every pod a port of the bridge, hostPorts by portmap."""
    return {
        "cniVersion": "0.4.0",
        "name": _TABLE,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isDefaultGateway": True,
                # Our own table masquerades: what the plugin adds would outlive a killed pod.
                "ipMasq": False,
                # A pod may reach itself through its Service.
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(ipam_folder),
                    "ranges": [[{"subnet": network.pod_subnet}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def bring_up(network: Network) -> None:
    """Makes the bridge, routes and rules; repeating it is fine.

    Raises ClusterError where another interface already uses one of the subnets.
    """
    _refuse_overlaps(network)
    if not _link_exists(BRIDGE):
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "replace", f"{network.node_address}/{network.prefix_length}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # Without a route of its own, a ClusterIP is unreachable from a host that is offline.
    _ip("route", "replace", network.service_subnet, "dev", BRIDGE, "src", network.node_address)
    (_SYSCTL / "ipv4/ip_forward").write_text("1")
    _see_bridged_packets()
    _run(
        [required_program("nft"), "-f", "-"],
        given=f"""
table ip {_TABLE} {{}}
delete table ip {_TABLE}
table ip {_TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {network.pod_subnet} oifname != "{BRIDGE}" masquerade
  }}
}}
""",
    )
    _queue_new_connections(network)
    for rule in _forward_rules():
        # A container engine sets the policy of FORWARD to drop.
        if not _succeeds([*_iptables(), "-C", *rule]):
            _run([*_iptables(), "-I", *rule])


def tear_down() -> None:
    """Removes what `bring_up`, kube-proxy, kube-network-policies and the CNI plugins made."""
    _succeeds([required_program("ip"), "link", "delete", BRIDGE])
    nft = required_program("nft")
    for table in _TABLES:
        _succeeds([nft, "delete", "table", *table.split()])
    if program_path("iptables"):
        while _succeeds([*_mangle(), "-D", "POSTROUTING", "-j", _POLICIES]):
            pass
        for action in ("-F", "-X"):
            _succeeds([*_mangle(), action, _POLICIES])
        for rule in _forward_rules():
            while _succeeds([*_iptables(), "-D", *rule]):
                pass
        _remove_host_ports()
    for cached in _CNI_CACHE.glob(f"{_TABLE}-*-eth0"):
        container = cached.name.removeprefix(f"{_TABLE}-").removesuffix("-eth0")
        (_CNI_CACHE / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        cached.unlink(missing_ok=True)


def left_overs() -> list[str]:
    """What of the network is still there, for checks after `tear_down`."""
    found = [f"interface {BRIDGE}"] if _link_exists(BRIDGE) else []
    listed = _output([required_program("nft"), "list", "tables"])
    found += [f"nftables {table}" for table in _TABLES if f"table {table}" in listed.splitlines()]
    if program_path("iptables") and _succeeds([*_mangle(), "-n", "-L", _POLICIES]):
        found.append(f"iptables chain {_POLICIES}")
    return found


def forget_addresses(ipam_folder: Path) -> None:
    """Frees all pod addresses; for a node on which no pod runs."""
    shutil.rmtree(ipam_folder, ignore_errors=True)


def _refuse_overlaps(network: Network) -> None:
    ours = [ipaddress.ip_network(each) for each in (network.pod_subnet, network.service_subnet)]
    for route in json.loads(_output([required_program("ip"), "-json", "-4", "route"]) or "[]"):
        if route["dst"] == "default" or route.get("dev") == BRIDGE:
            continue
        other = ipaddress.ip_network(route["dst"], strict=False)
        for mine in ours:
            if mine.overlaps(other):
                raise ClusterError(
                    f"The cluster's subnet {mine} overlaps {other} of interface "
                    f"{route.get('dev', '?')}: choose others with --pod-subnet and "
                    "--service-subnet, or stop the other cluster"
                )


def _see_bridged_packets() -> None:
    """Has netfilter see packets between two pods: else answers of a Service bypass its NAT."""
    setting = _SYSCTL / "bridge/bridge-nf-call-iptables"
    modprobe = program_path("modprobe")
    if not setting.exists() and modprobe:
        _succeeds([modprobe, "br_netfilter"])
    if not setting.exists():
        raise ClusterError(
            "The kernel module br_netfilter cannot be loaded; without it pods do not reach each "
            "other through Services. Load it by hand: modprobe br_netfilter"
        )
    setting.write_text("1")


def _queue_new_connections(network: Network) -> None:
    """Has kube-network-policies decide about each new connection from or to a pod.

    Its own rules, of nftables, do the same for pods that a policy selects; but they need a kernel
    with NFT_QUEUE, and not all that have netfilter queues do. Here, behind a Service's address and
    before addresses are masqueraded, packets carry pods' addresses. What the machine's root sends
    is let through, as there: kubelet's probes, and people on the machine.
    """
    chain = [*_mangle(), "-A", _POLICIES]
    if not _succeeds([*_mangle(), "-N", _POLICIES]):
        _run([*_mangle(), "-F", _POLICIES])
    _run([*chain, "-m", "owner", "--uid-owner", "0", "-j", "RETURN"])
    _run([*chain, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"])
    for side in ("-s", "-d"):
        _run(
            [*chain, side, network.pod_subnet, "-j", "NFQUEUE", "--queue-num", str(_QUEUE)],
        )
    if not _succeeds([*_mangle(), "-C", "POSTROUTING", "-j", _POLICIES]):
        _run([*_mangle(), "-A", "POSTROUTING", "-j", _POLICIES])


def _mangle() -> list[str]:
    return [*_iptables(), "-t", "mangle"]


def _iptables() -> list[str]:
    return [required_program("iptables"), "--wait"]


def _forward_rules() -> list[list[str]]:
    comment = ["-m", "comment", "--comment", _TABLE, "-j", "ACCEPT"]
    return [["FORWARD", "-i", BRIDGE, *comment], ["FORWARD", "-o", BRIDGE, *comment]]


def _remove_host_ports() -> None:
    """Removes portmap's rules of pods whose CNI DEL was never called; other networks' stay."""
    iptables = [*_iptables(), "-t", "nat"]

    def delete(rules: list[str], chains: Iterable[str]) -> None:
        for rule in rules:
            _succeeds([*iptables, "-D", *shlex.split(rule.removeprefix("-A "))])
        for chain in chains:
            _succeeds([*iptables, "-F", chain])
        for chain in chains:
            _succeeds([*iptables, "-X", chain])

    # portmap comments its jump: dnat name: "<network>" id: "<container>"
    ours = re.compile(rf'-A CNI-HOSTPORT-DNAT .*dnat name: \\?"{_TABLE}\\?".* -j (CNI-DN-\w+)')
    jumps = {line: match[1] for line in _nat_rules() if (match := ours.match(line))}
    delete(list(jumps), jumps.values())
    left = _nat_rules()
    if not any("-j CNI-DN-" in line for line in left):
        shared = ("CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK")
        delete(
            [line for line in left if line.endswith(tuple(f"-j {each}" for each in shared))], shared
        )


def _nat_rules() -> list[str]:
    saved = _output([required_program("iptables") + "-save", "-t", "nat"])
    return [line for line in saved.splitlines() if line.startswith("-A ")]


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _ip(*arguments: str) -> None:
    _run([required_program("ip"), *arguments])


def _run(command: Sequence[str], given: str | None = None) -> None:
    result = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ClusterError(
            f"`{' '.join(command)}` failed, so the cluster has no network: "
            f"{(result.stderr or result.stdout).strip()}"
        )


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _output(command: Sequence[str]) -> str:
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""
