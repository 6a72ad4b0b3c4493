"""An HTTP client for URLs that users wrote: every connection goes to a checked address.

A check of the name before the request would be too early: the name may resolve differently the
next time (DNS rebinding), and a redirect leads elsewhere. So the check is where connections are
made: the name is resolved once, its addresses are checked (addresses.py), and one of them is
connected to. TLS still verifies the name.

Behind a proxy (HTTP_PROXY, HTTPS_PROXY in the image) the proxy connects, so only what the name
resolves to here can be checked; what the proxy reaches is its administrator's decision.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import urllib.request
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import httpcore
import httpx

from modelyard.workloads.addresses import AddressRules

TIMEOUT = httpx.Timeout(60.0, connect=15.0)
CONNECTIONS = 64
"""At once; as many threads as fetch small objects."""


class RefusedAddress(Exception):
    """An address that may not be connected to; `why` is part of a sentence."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"{address}, {why}")
        self.address = address
        self.why = why


def client(rules: AddressRules | None) -> httpx.Client:
    """The client. It follows no redirects; None trusts every address (the store's endpoint).

    Requests raise RefusedAddress, and httpx.TransportError as usual.
    """
    return httpx.Client(
        transport=_Transport(rules),
        mounts={
            f"{scheme}://": _ViaProxy(rules, url)
            for scheme, url in urllib.request.getproxies().items()
            if scheme in ("http", "https")
        },
        timeout=TIMEOUT,
        # What is fetched is kept as it is; an encoding would also hide its size.
        headers={"accept-encoding": "identity"},
        trust_env=False,
    )


def described(error: Exception) -> str:
    """A failure to get an answer, in our words: exceptions may quote what a server sent."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its name does not resolve"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection broke, or the answer is not HTTP"
    return "the connection broke"


def status_text(status: int) -> str:
    """A status code with its standard phrase, whatever phrase the server sent."""
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


class _Backend(httpcore.NetworkBackend):
    """Connects to addresses that the rules permit."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first permitted address that answers. Raises RefusedAddress if there
        is none."""
        failure: Exception | None = None
        for address in permitted(self._rules, host, port):
            try:
                return self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # `permitted` returns at least one
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """No URL leads to one."""
        raise RefusedAddress(path, "a socket of this machine")


def permitted(rules: AddressRules, host: str, port: int) -> list[str]:
    """The addresses of a host that may be connected to. Raises RefusedAddress if it has others
    only, httpcore.ConnectError if its name does not resolve."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name does not resolve") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    reasons = {address: rules.refusal(address) for address in addresses}
    good = [address for address in addresses if reasons[address] is None]
    if not good:
        first = addresses[0]
        raise RefusedAddress(first, reasons[first] or "")
    return good


class _Transport(httpx.HTTPTransport):
    """httpx's transport over our connections."""

    def __init__(self, rules: AddressRules | None) -> None:
        context = httpx.create_ssl_context()
        super().__init__(verify=context)
        if rules is not None:
            # httpx has no parameter for it. The pool is where all connections come from.
            self._pool = httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=CONNECTIONS,
                network_backend=_Backend(rules),
            )


class _ViaProxy(httpx.HTTPTransport):
    """Through a proxy, unless it is bypassed for the host (NO_PROXY)."""

    def __init__(self, rules: AddressRules | None, proxy: str) -> None:
        super().__init__(proxy=proxy)
        self._rules = rules
        self._direct = _Transport(rules)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. Raises RefusedAddress for a host that is, or resolves to, a refused address."""
        host = request.url.host
        if urllib.request.proxy_bypass(host):
            return self._direct.handle_request(request)
        if self._rules is not None:
            # Names need not resolve here: the proxy will do that.
            with contextlib.suppress(httpcore.ConnectError):
                permitted(self._rules, host, request.url.port or 443)
        return super().handle_request(request)

    def close(self) -> None:
        """Both kinds of connections."""
        super().close()
        self._direct.close()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
