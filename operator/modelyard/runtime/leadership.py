"""Leader election: acquires and renews the Lease, and runs a term while it is held.

The protocol is in lease.py; a term is engine.py's work as the leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from modelyard.kube.errors import ApiError
from modelyard.runtime.lease import Lease

log = logging.getLogger(__name__)

RELEASE_SECONDS = 1.0


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Run `work` until it ends or `stop` is set; it is cancelled in the second case."""
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Leadership:
    """This replica's part in the election."""

    def __init__(
        self,
        lease: Lease,
        *,
        term: Callable[[], Coroutine[Any, Any, None]],
        ended: Callable[[], None],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._lease = lease
        self._begin = term
        """The leader's work; cancelled when the Lease is lost."""
        self._ended = ended
        """Called after a term."""
        self._failed = failed
        """Called after a failed try to acquire or renew the Lease."""
        self._term: asyncio.Task[None] | None = None
        self._resigning = False
        self._last_error = ""
        """Why the last try to renew the Lease failed; each reason is logged once."""
        self.last_answer = 0.0
        """Monotonic time of the API server's last response about the Lease."""

    @property
    def leading(self) -> bool:
        """Whether a term is running."""
        return self._term is not None

    def may_write(self) -> bool:
        """Whether a write may be sent now. Checked before each one, since the Lease may have
        expired while the process was paused."""
        return self.leading and self._lease.held and not self._resigning

    async def run(self, stop: asyncio.Event) -> None:
        """Run for leader until `stop` is set. Raises what a term raises, which is always a bug."""
        while not stop.is_set():
            await self._acquire_or_renew()
            if self._lease.held and self._term is None:
                log.info("leading", extra={"identity": self._lease.identity})
                self._term = asyncio.create_task(self._begin(), name="term")
            elif not self._lease.held and self._term is not None:
                log.warning("no longer leading: the Lease was not renewed in time")
                await self._end()
            if self._term is not None and self._term.done():
                await self._term
            pause = self._lease.seconds / 4 * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
            await run_until(stop, asyncio.sleep(pause))

    async def resign(self, drained: Coroutine[Any, Any, None], seconds: float) -> None:
        """Start no more writes, wait at most `seconds` for those in flight (until `drained`
        returns), end the term and release the Lease."""
        self._resigning = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, seconds)
        await self._end()
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._lease.release()
        except (ApiError, TimeoutError) as error:
            log.warning("cannot give the Lease up: %s", error or "the API server is too slow")

    async def _acquire_or_renew(self) -> None:
        try:
            async with asyncio.timeout(self._lease.seconds / 2):
                await self._lease.acquire_or_renew()
        except (ApiError, TimeoutError) as error:
            problem = str(error) or "the API server is too slow"
            if problem != self._last_error:
                log.warning("cannot renew the Lease, tries again: %s", problem)
            self._last_error = problem
            self._failed()
        else:
            self.last_answer = time.monotonic()
            if self._last_error:
                log.info("the API server answers about the Lease again")
            self._last_error = ""

    async def _end(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            term.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await term
        self._ended()
