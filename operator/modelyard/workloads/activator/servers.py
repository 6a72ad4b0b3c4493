"""The servers behind the proxy: connects to them, scales them up, and scales them to zero.

A Service leads to all of them, so they are treated as one. Errors of the API server are logged and
retried; the proxy only learns whether it got a connection in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_SECONDS = 2.0
RETRY_SECONDS = 0.2
SCALE_UP_AGAIN_SECONDS = 2.0
"""Interval at which scaling up is repeated while connections wait: somebody else may have scaled
the servers down meanwhile."""


class Address(NamedTuple):
    """Where a listening port forwards to."""

    host: str
    port: int


class Servers:
    """The servers of one Deployment."""

    def __init__(
        self,
        *,
        scale_up: Callable[[], Awaitable[None]],
        scale_down: Callable[[], Awaitable[None]],
        ready: Callable[[], Awaitable[bool]],
        drain_seconds: float,
    ) -> None:
        """`scale_up` asks for servers if there are none, `scale_down` for none; both may raise and
        are retried. `ready` says whether a server answers. Servers that were scaled down accept
        connections for up to `drain_seconds` more."""
        self._scale_up, self._scale_down, self._ready = scale_up, scale_down, ready
        self._drain_seconds = drain_seconds
        self._clock = asyncio.get_running_loop().time
        self._scaled_up_at = float("-inf")
        self._scaling = asyncio.Lock()
        self._draining_until = float("-inf")
        self._search: asyncio.Task[None] | None = None
        self.waiting = 0
        """Connections that wait for a server."""

    async def connect(
        self, dial: Callable[[], Awaitable[T]], seconds: float, on_wait: Callable[[], None]
    ) -> T | None:
        """A connection to a server, as `dial` makes it (OSError: no server there); None if there
        was none within `seconds`. Calls `on_wait` if the first attempt fails."""
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                if not self._draining:
                    with contextlib.suppress(OSError):
                        async with asyncio.timeout(CONNECT_SECONDS):
                            return await dial()
                on_wait()
                while True:
                    await self._wait_until_ready()
                    with contextlib.suppress(OSError):
                        async with asyncio.timeout(CONNECT_SECONDS):
                            return await dial()
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            logger.warning("no server was ready within %.0f s", seconds)
            return None
        finally:
            self.waiting -= 1

    async def scale_to_zero(self) -> bool:
        """Scale all servers down; returns whether the API server confirmed it. Call it only while
        no connection waits."""
        # From here on, a new connection must not reach a server that is about to end.
        self._draining_until = float("inf")
        try:
            async with self._scaling:
                self._scaled_up_at = float("-inf")
                await self._scale_down()
        except Exception as error:
            # The write may have succeeded although its response was lost.
            logger.warning("cannot scale the servers to zero, will retry: %s", error)
            return False
        finally:
            self._draining_until = self._clock() + self._drain_seconds
        return True

    async def responds(self) -> bool:
        """Whether a server answers that is not about to end."""
        return not self._draining and await self._ready()

    @property
    def _draining(self) -> bool:
        # A Service whose endpoints all terminate leads to them for as long as they answer.
        return self._clock() < self._draining_until

    async def _wait_until_ready(self) -> None:
        """Return when a server answers. All waiting connections share one poll: a thousand would
        overload DNS and the API server."""
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._poll(), name="wait until ready")
        await asyncio.shield(self._search)

    async def _poll(self) -> None:
        while self.waiting:
            await self._request_servers()
            if await self.responds():
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _request_servers(self) -> None:
        async with self._scaling:
            if self._clock() - self._scaled_up_at < SCALE_UP_AGAIN_SECONDS:
                return
            self._scaled_up_at = self._clock()
            try:
                await self._scale_up()
            except Exception as error:
                logger.warning("cannot scale the servers up, will retry: %s", error)
