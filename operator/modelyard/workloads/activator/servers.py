"""Finds the servers of one Deployment, has them woken, and sends them away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

DIAL_SECONDS = 2.0
RETRY_SECONDS = 0.2
ASK_SECONDS = 2.0
"""Servers are asked for anew after this long: they may have been sent to sleep meanwhile."""


class Address(NamedTuple):
    """Where a port's connections lead."""

    host: str
    port: int


class Servers:
    """The servers behind a gate, as one: a Service leads to some of them."""

    def __init__(
        self,
        *,
        wake: Callable[[], Awaitable[None]],
        sleep: Callable[[], Awaitable[None]],
        ready: Callable[[], Awaitable[bool]],
        leave: float,
    ) -> None:
        """`wake` asks for servers where there are none, `sleep` sends them away; both may raise
        and are asked again. `ready` is whether one answers that goes on doing so. Servers that
        were sent away still take connections for up to `leave` seconds."""
        self._wake, self._sleep, self._ready = wake, sleep, ready
        self._leave = leave
        self._clock = asyncio.get_running_loop().time
        self._asked = float("-inf")
        self._writing = asyncio.Lock()
        self._leaving_until = float("-inf")
        self._search: asyncio.Task[None] | None = None
        self.wanted = 0
        """Connections that wait for a server."""

    async def reach(
        self, dial: Callable[[], Awaitable[T]], seconds: float, waits: Callable[[], None]
    ) -> T | None:
        """A connection to a server, as `dial` makes it; None if there was none in time. `dial`
        raises OSError where there is no server. Calls `waits` when it takes longer than a
        moment."""
        self.wanted += 1
        try:
            async with asyncio.timeout(seconds):
                if not self._leaving:
                    with contextlib.suppress(OSError):
                        async with asyncio.timeout(DIAL_SECONDS):
                            return await dial()
                waits()
                while True:
                    await self._found()
                    with contextlib.suppress(OSError):
                        async with asyncio.timeout(DIAL_SECONDS):
                            return await dial()
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            logger.warning("no server within %.0f s", seconds)
            return None
        finally:
            self.wanted -= 1

    async def send_away(self) -> bool:
        """Let all servers go; whether that was asked for. Call it only while nobody waits."""
        # From now on: whoever comes must not get a server that is about to go.
        self._leaving_until = float("inf")
        try:
            async with self._writing:
                self._asked = float("-inf")
                await self._sleep()
        except Exception as error:
            # It may have been done all the same, if only the answer was lost.
            logger.warning("cannot send servers to sleep, tries again: %s", error)
            return False
        finally:
            self._leaving_until = self._clock() + self._leave
        return True

    async def answer(self) -> bool:
        """Whether a server answers that goes on doing so."""
        return not self._leaving and await self._ready()

    @property
    def _leaving(self) -> bool:
        # A Service whose servers all end leads to them for as long as they answer.
        return self._clock() < self._leaving_until

    async def _found(self) -> None:
        """Return when a server answers. All who wait share one search: a thousand would keep DNS
        and the API server busy."""
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._look(), name="search")
        await asyncio.shield(self._search)

    async def _look(self) -> None:
        while self.wanted:
            await self._ask()
            if await self.answer():
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self) -> None:
        async with self._writing:
            if self._clock() - self._asked < ASK_SECONDS:
                return
            self._asked = self._clock()
            try:
                await self._wake()
            except Exception as error:
                logger.warning("cannot ask for servers, tries again: %s", error)
