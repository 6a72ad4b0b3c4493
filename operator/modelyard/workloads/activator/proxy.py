"""Hands connections on to servers, which may have to be woken first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from modelyard.workloads.activator import http2
from modelyard.workloads.activator.connections import Client, Server
from modelyard.workloads.activator.servers import Address, Servers

logger = logging.getLogger(__name__)

BACKLOG = 1024
SILENCE_SECONDS = 1.0
"""A connection that was answered and is silent for so long may be closed."""
LOOK_AGAIN_SECONDS = 60.0
"""Servers that sleep are sent to sleep again after this long, if not `after`: somebody else may
have woken them."""


@dataclass(frozen=True)
class Limits:
    """How long and how many."""

    after: float
    """Seconds without a byte after which servers sleep."""
    wait: float
    """Longest time in seconds that a connection waits for a server."""
    held: int = 1000
    """Most connections that wait at the same time; more are closed at once."""


class Gate:
    """All connections of one Deployment."""

    def __init__(self, limits: Limits, servers: Servers) -> None:
        self._limits = limits
        self._servers = servers
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._slept: float | None = None
        """When servers were sent to sleep, if nobody has said anything since."""
        self._answering = False
        """Whether a server is known to have answered since servers were last sent to sleep."""
        self._open: set[Client] = set()
        """Clients that have said something."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, address: Address) -> asyncio.Server:
        """Take connections from now on, which lead to `address`. Raises OSError."""
        door = _Door(self, address)
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Client(door), host, port, backlog=BACKLOG)

    def begun(self, client: Client, first: bytes, address: Address) -> None:
        """A client has said something."""
        self._open.add(client)
        self.heard(client)
        task = asyncio.create_task(self._serve(first, client, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def heard(self, client: Client) -> None:
        """A client or its server has said something."""
        self._heard = client.heard = self._clock()
        self._slept = None

    def lost(self, client: Client) -> None:
        """A connection has ended."""
        self._open.discard(client)

    async def rest(self, every: float = 1.0) -> None:
        """Send servers to sleep whenever nobody has said anything for long enough, but not while
        they may be starting for somebody."""
        again = max(self._limits.after, LOOK_AGAIN_SECONDS)
        while True:
            await asyncio.sleep(every)
            now = self._clock()
            if self._slept is not None and now - self._slept < again:
                continue
            longest = self._limits.after + self._limits.wait
            if not self._answering and now - self._heard < longest:
                # An activator that ends may have had them woken for who waits there. They stay
                # awake from their first answer on, as if a client of ours had got it.
                if await self._servers.answer():
                    self._answering = True
                    self._heard = self._clock()
                continue
            # A client that waits for an answer postpones it, but not for ever: over TLS, the last
            # word of an idle connection may be the client's, too.
            asked = any(client.asks for client in self._open)
            if now - self._heard >= (longest if asked else self._limits.after):
                await self._doze()

    async def end(self, seconds: float) -> None:
        """Let who waits for a server get its answer; then close all connections, those that are
        busy after so many seconds."""
        while self._servers.wanted:  # noqa: ASYNC110 - no hurry
            await asyncio.sleep(0.1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    now = self._clock()
                    for client in list(self._open):
                        if not client.asks and now - client.heard >= SILENCE_SECONDS:
                            client.transport.close()
                    await asyncio.sleep(0.1)

    async def _serve(self, first: bytes, client: Client, address: Address) -> None:
        if self._servers.wanted >= self._limits.held:
            logger.warning("%d connections wait already: one more is refused", self._limits.held)
            client.transport.close()
            return
        words = http2.Words() if http2.begins(first) else None

        def waits() -> None:
            if words is not None:
                client.transport.write(http2.SETTINGS)
                words.drop_acknowledgement = True

        async def dial() -> Server:
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(Server, *address))[1]

        server = await self._servers.reach(dial, self._limits.wait, waits)
        self.heard(client)
        if server is None:
            client.transport.close()
        else:
            self._answering = True
            client.join(server, first, words)

    async def _doze(self) -> None:
        if self._servers.wanted:
            return
        heard = self._heard
        # Clients must not send on a connection whose server is about to go.
        for client in list(self._open):
            client.transport.close()
        if await self._servers.send_away():
            self._answering = False
            if self._heard == heard:
                self._slept = self._clock()


@dataclass(frozen=True)
class _Door:
    """A port of the gate."""

    gate: Gate
    address: Address

    def begun(self, client: Client, first: bytes) -> None:
        self.gate.begun(client, first, self.address)

    def heard(self, client: Client) -> None:
        self.gate.heard(client)

    def lost(self, client: Client) -> None:
        self.gate.lost(client)
