"""All connections of one Deployment: forwards them, and scales the servers to zero when idle.

    client ── listening port ── Proxy ── Servers.connect ── server
                                  └── run_idle_timer ── Servers.scale_to_zero

Idle means that no byte has passed for `Limits.after` seconds. See __init__.py for the parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from modelyard.workloads.activator import http2
from modelyard.workloads.activator.connections import ClientConnection, ServerConnection
from modelyard.workloads.activator.servers import Address, Servers

logger = logging.getLogger(__name__)

BACKLOG = 1024
CLOSE_AFTER_SECONDS = 1.0
"""While the proxy ends, a connection whose last response is this old may be closed."""
SCALE_DOWN_AGAIN_SECONDS = 60.0
"""Minimum interval at which scaling to zero is repeated: somebody else may have scaled up."""


@dataclass(frozen=True)
class Limits:
    """Times and counts."""

    after: float
    """Seconds without traffic after which the servers are scaled to zero."""
    wait: float
    """Maximum seconds that a connection waits for a server."""
    max_waiting: int = 1000
    """Maximum connections that wait at the same time; further ones are closed at once."""
    max_open: int = 2000
    """Maximum open connections. For one more, the one that has been idle longest is closed."""
    silent: float = 30.0
    """Seconds that a connection may stay open before the client's first byte."""
    idle: float = 300.0
    """Seconds without a byte after which a connection is closed; `after` and `wait` together if
    they are longer, since a request may have to wait for that long."""


class Proxy:
    """Owns the client connections and the idle timer of one Deployment."""

    def __init__(self, limits: Limits, servers: Servers) -> None:
        self._limits = limits
        self._servers = servers
        self._clock = asyncio.get_running_loop().time
        self._last_active = self._clock()
        self._scaled_down_at: float | None = None
        """When the servers were scaled to zero, if there was no traffic since."""
        self._serving = False
        """Whether a server is known to have answered since the servers were last scaled down."""
        self._open: set[ClientConnection] = set()
        """Connections on which the client has sent something."""
        self._silent: set[ClientConnection] = set()
        """Connections on which it has not."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, address: Address) -> asyncio.Server:
        """Accept connections that lead to `address`. Raises OSError."""
        listener = _ListeningPort(self, address)
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: ClientConnection(listener), host, port, backlog=BACKLOG
        )

    def accepted(self, client: ClientConnection) -> None:
        """A client has connected: make room for it."""
        client.last_active = self._clock()
        if len(self._open) + len(self._silent) >= self._limits.max_open:
            idle = [one for one in (*self._silent, *self._open) if not one.awaits_response]
            oldest = min(idle, key=lambda one: one.last_active, default=client)
            logger.warning(
                "%d connections are open: closed the one that was idle longest",
                self._limits.max_open,
            )
            self.closed(oldest)
            oldest.drop()
        if not client.transport.is_closing():
            self._silent.add(client)

    def opened(self, client: ClientConnection, first: bytes, address: Address) -> None:
        """A client has sent its first bytes: connect it."""
        self._silent.discard(client)
        self._open.add(client)
        self.active(client)
        task = asyncio.create_task(self._connect(first, client, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def active(self, client: ClientConnection) -> None:
        """Bytes have passed on a connection."""
        self._last_active = client.last_active = self._clock()
        self._scaled_down_at = None

    def closed(self, client: ClientConnection) -> None:
        """A connection has ended."""
        self._open.discard(client)
        self._silent.discard(client)

    def _close_idle(self, now: float) -> None:
        """Close connections on which nothing has passed for too long."""
        longest = max(self._limits.idle, self._limits.after + self._limits.wait)
        for clients, seconds in ((self._silent, self._limits.silent), (self._open, longest)):
            for client in list(clients):
                if now - client.last_active >= seconds:
                    self.closed(client)
                    client.drop()

    async def run_idle_timer(self, every: float = 1.0) -> None:
        """Scale the servers to zero whenever there was no traffic for long enough, but not while
        they may be starting for somebody."""
        again = max(self._limits.after, SCALE_DOWN_AGAIN_SECONDS)
        while True:
            await asyncio.sleep(every)
            now = self._clock()
            self._close_idle(now)
            if self._scaled_down_at is not None and now - self._scaled_down_at < again:
                continue
            longest = self._limits.after + self._limits.wait
            if not self._serving and now - self._last_active < longest:
                # An activator that is ending may have scaled them up for connections that wait
                # there. Their first answer starts the idle time, as if it had been for us.
                if await self._servers.responds():
                    self._serving = True
                    self._last_active = self._clock()
                continue
            # A client that awaits a response postpones it, but not for ever: over TLS, the last
            # bytes of an idle connection may be the client's, too.
            awaited = any(client.awaits_response for client in self._open)
            if now - self._last_active >= (longest if awaited else self._limits.after):
                await self._scale_to_zero()

    async def end(self, seconds: float) -> None:
        """Connect everybody who waits for a server; then close all connections, busy ones after
        `seconds`."""
        while self._servers.waiting:  # noqa: ASYNC110 - polled rarely, at the end only
            await asyncio.sleep(0.1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    now = self._clock()
                    for client in list(self._open):
                        idle = now - client.last_active >= CLOSE_AFTER_SECONDS
                        if idle and not client.awaits_response:
                            client.transport.close()
                    await asyncio.sleep(0.1)

    async def _connect(self, first: bytes, client: ClientConnection, address: Address) -> None:
        if self._servers.waiting >= self._limits.max_waiting:
            logger.warning(
                "%d connections wait already: refused one more", self._limits.max_waiting
            )
            client.transport.close()
            return
        frames = http2.ClientFrames() if http2.is_preface(first) else None

        def on_wait() -> None:
            if frames is not None:
                client.transport.write(http2.SETTINGS)
                frames.drop_acknowledgement = True

        async def dial() -> ServerConnection:
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(ServerConnection, *address))[1]

        server = await self._servers.connect(dial, self._limits.wait, on_wait)
        self.active(client)
        if server is None:
            client.transport.close()
        else:
            self._serving = True
            client.connect(server, first, frames)

    async def _scale_to_zero(self) -> None:
        if self._servers.waiting:
            return
        last_active = self._last_active
        # A client must not send on a connection whose server is about to end.
        for client in list(self._open):
            client.transport.close()
        if await self._servers.scale_to_zero():
            self._serving = False
            if self._last_active == last_active:
                self._scaled_down_at = self._clock()


@dataclass(frozen=True)
class _ListeningPort:
    """A port of the proxy, and where it forwards to."""

    proxy: Proxy
    address: Address

    def accepted(self, client: ClientConnection) -> None:
        self.proxy.accepted(client)

    def opened(self, client: ClientConnection, first: bytes) -> None:
        self.proxy.opened(client, first, self.address)

    def active(self, client: ClientConnection) -> None:
        self.proxy.active(client)

    def closed(self, client: ClientConnection) -> None:
        self.proxy.closed(client)
