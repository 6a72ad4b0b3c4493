"""Hands connections on to servers, which may have to be woken first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024
DIAL_SECONDS = 2.0
RETRY_SECONDS = 0.2
ASK_SECONDS = 2.0
"""Servers are asked for anew after this long: they may have been sent to sleep meanwhile."""


class Address(NamedTuple):
    """Where a port's connections lead."""

    host: str
    port: int


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

    def __init__(
        self,
        limits: Limits,
        *,
        wake: Callable[[], Awaitable[None]],
        sleep: Callable[[], Awaitable[None]],
    ) -> None:
        """`wake` asks for servers where there are none, `sleep` sends them away; both may raise
        and are asked again."""
        self._limits = limits
        self._wake, self._sleep = wake, sleep
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._asleep = False
        self._open: set[asyncio.StreamWriter] = set()
        self._unanswered: set[asyncio.StreamWriter] = set()
        """Clients that have said something last."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.held = 0
        """Connections that wait for a server."""

    async def drained(self) -> None:
        """Return when no client is connected."""
        await self._empty.wait()

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address
    ) -> None:
        """Serve one connection to its end."""
        self._open.add(writer)
        self._empty.clear()
        try:
            # Who says nothing, such as a probe, wakes nobody.
            first = await reader.read(CHUNK)
            if first:
                await self._serve(first, reader, writer, address)
        except (ConnectionError, TimeoutError, OSError) as error:
            logger.debug("a connection has ended: %s", error)
        finally:
            self._open.discard(writer)
            self._unanswered.discard(writer)
            if not self._open:
                self._empty.set()
            writer.close()

    async def rest(self, every: float = 1.0) -> None:
        """Send servers to sleep whenever nobody has said anything for long enough."""
        while True:
            await asyncio.sleep(every)
            quiet = self._clock() - self._heard
            # A client that waits for an answer postpones it, but not for ever: the last word of an
            # idle HTTP/2 connection is often the client's, too.
            enough = self._limits.after + (self._limits.wait if self._unanswered else 0)
            if not self._asleep and quiet >= enough:
                await self._doze()

    async def _serve(
        self,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: Address,
    ) -> None:
        self._touch()
        self._unanswered.add(writer)
        found = await self._reach(address)
        if found is None:
            return
        server_reader, server_writer = found
        server_writer.write(first)
        asking = asyncio.create_task(self._pump(reader, server_writer, of=writer, says=True))
        answering = asyncio.create_task(self._pump(server_reader, writer, of=writer, says=False))
        try:
            await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and asking.exception() is None:
                await answering  # The client has asked all it wants to, and is still answered.
        finally:
            # Once a server says no more, nobody would answer what the client may still ask.
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            server_writer.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        of: asyncio.StreamWriter,
        says: bool,
    ) -> None:
        """Hand bytes on until there are no more, and then say so. `says` is whether they are the
        client's (`of`)."""
        while data := await source.read(CHUNK):
            self._touch()
            (self._unanswered.add if says else self._unanswered.discard)(of)
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()

    async def _reach(
        self, address: Address
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a server; None if there was none in time."""
        if self.held >= self._limits.held:
            logger.warning("%d connections wait already: one more is refused", self.held)
            return None
        self.held += 1
        try:
            async with asyncio.timeout(self._limits.wait):
                while True:
                    with contextlib.suppress(OSError, TimeoutError):
                        async with asyncio.timeout(DIAL_SECONDS):
                            return await asyncio.open_connection(*address)
                    await self._ask()
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            logger.warning("no server within %.0f s", self._limits.wait)
            return None
        finally:
            self.held -= 1
            self._touch()

    async def _ask(self) -> None:
        async with self._asking:
            if self._clock() - self._asked < ASK_SECONDS:
                return
            self._asked = self._clock()
            self._asleep = False
            try:
                await self._wake()
            except Exception as error:
                logger.warning("cannot ask for servers, tries again: %s", error)

    async def _doze(self) -> None:
        heard = self._heard
        if self.held:
            return
        # Clients must not send on a connection whose server is about to go.
        for writer in list(self._open):
            writer.close()
        try:
            await self._sleep()
        except Exception as error:
            logger.warning("cannot send servers to sleep, tries again: %s", error)
            return
        # Whoever came meanwhile finds no server soon, and asks for one again.
        self._asleep = self._heard == heard

    def _touch(self) -> None:
        self._heard = self._clock()
        self._asleep = False
