"""Which addresses a pod may fetch from, on a user's behalf.

Whoever writes a URL into an object makes a pod connect to it (server-side request forgery), so the
pod must not become a way into what only the cluster can reach: metadata services hand out a node's
credentials, private addresses hold other teams' services. `refusal` decides on an address that
is about to be connected to; guarded.py asks it for every connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from modelyard.workloads.errors import UserError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_ALLOWED = "SourceNotAllowed"

_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # AWS, Google, Azure, OpenStack, Oracle and others: link-local
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's agent
        "192.0.0.192/32",  # Oracle, older
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
    )
)
"""Metadata services of clouds. Some lie in ranges that a site may want to allow, so they are
refused before its list is read."""
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_V4_COMPATIBLE = ip_network("::/96")


@dataclass(frozen=True)
class AddressRules:
    """What may be fetched from besides public addresses."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, networks: Sequence[str]) -> AddressRules:
        """From CIDRs. Raises ValueError for what is none."""
        return cls(tuple(ip_network(text) for text in networks))

    def refusal(self, text: str) -> str | None:
        """Why an address may not be connected to, as part of a sentence; None if it may be."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return "which is no IP address"
        return next(filter(None, map(self._refusal, _meanings(address))), None)

    def _refusal(self, address: Address) -> str | None:
        if any(address in network for network in _METADATA):
            return "an address of clouds' metadata services"
        reserved = address.version == 4 and address.is_reserved  # 240.0.0.0/4, with broadcast
        if address.is_link_local or address.is_multicast or address.is_unspecified or reserved:
            return "a link-local, multicast, reserved or unspecified address"
        listed = [network for network in self.allowed if address in network]
        if address.is_loopback:
            # Only a network of nothing else opens it (not 0.0.0.0/0). The operator's settings take
            # none; tests of the fetchers do.
            return None if any(one.is_loopback for one in listed) else "a loopback address"
        if address.is_global or listed:
            return None
        return (
            "a private address, which this cluster does not allow: an administrator can list its "
            "network in the chart's value workloads.allowedPrivateNetworks"
        )


def refused(label: str, address: str, why: str) -> UserError:
    """The error for a source, named by `label`, that leads to a refused address."""
    return UserError(NOT_ALLOWED, f"{label} leads to {address}, {why}")


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that a translator on the way would make of it."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        # Only another way to write the IPv4 address.
        yield address.ipv4_mapped
        return
    last = IPv4Address(int(address) & 0xFFFF_FFFF)
    if any(address in network for network in _NAT64):
        yield last
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _V4_COMPATIBLE and not address.is_loopback and not address.is_unspecified:
        yield last
