"""Leader election: acquires and renews the Lease, and runs a term while it is held.

The protocol is in lease.py; a term is engine.py's work as the leader.

The Lease is renewed in a thread of its own (loop_thread.py), so that a term does not end because
the event loop is busy for longer than the Lease lasts. A process whose event loop does not run any
more must not lead for ever, though: after STUCK_SECONDS the thread stops renewing, and another
replica takes over. Whether the Lease is held is read in both threads; all else belongs to one.
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
from modelyard.runtime.loop_thread import LoopThread

log = logging.getLogger(__name__)

RELEASE_SECONDS = 1.0
STUCK_SECONDS = 60.0
"""The Lease is not renewed for an event loop that has not run for this long. Nothing that the
operator does takes near as much; the liveness probe restarts the process a little later."""


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
        thread: LoopThread,
        *,
        term: Callable[[], Coroutine[Any, Any, None]],
        ended: Callable[[], None],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._lease = lease
        self._thread = thread
        self._requests = asyncio.Lock()
        """One request about the Lease at a time; used in the thread."""
        self._tried = asyncio.Event()
        """Set in the event loop after each try."""
        self._last_run = time.monotonic()
        """When the event loop last ran."""
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
        self._last_run = time.monotonic()
        tries = self._thread.submit(self._keep_trying(asyncio.get_running_loop()))
        try:
            while not stop.is_set():
                await run_until(stop, self._tried.wait())
                self._tried.clear()
                self._last_run = time.monotonic()
                if tries.done():
                    tries.result()
                await self._follow()
        finally:
            tries.cancel()

    async def _follow(self) -> None:
        """Begin or end a term, as the Lease says."""
        if self._lease.held and self._term is None:
            log.info("leading", extra={"identity": self._lease.identity})
            self._term = asyncio.create_task(self._begin(), name="term")
            self._term.add_done_callback(lambda _: self._tried.set())
        elif not self._lease.held and self._term is not None:
            log.warning("no longer leading: the Lease was not renewed in time")
            await self._end()
        if self._term is not None and self._term.done():
            await self._term

    async def resign(self, drained: Coroutine[Any, Any, None], seconds: float) -> None:
        """Start no more writes, wait at most `seconds` for those in flight (until `drained`
        returns), end the term and release the Lease."""
        self._resigning = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, seconds)
        await self._end()
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._thread.submit(self._release())
        except (ApiError, TimeoutError) as error:
            log.warning("cannot give the Lease up: %s", error or "the API server is too slow")

    # In the thread.

    async def _keep_trying(self, loop: asyncio.AbstractEventLoop) -> None:
        """Acquire or renew the Lease every quarter of its duration."""
        while True:
            stuck = time.monotonic() - self._last_run > STUCK_SECONDS
            if not stuck:
                # Not cancelled on the way: the release that follows must know what was written.
                await asyncio.shield(self._acquire_or_renew())
            loop.call_soon_threadsafe(self._tried.set)
            pause = self._lease.seconds / 4 * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(pause)

    async def _release(self) -> None:
        async with self._requests:
            await self._lease.release()

    async def _acquire_or_renew(self) -> None:
        try:
            async with self._requests, asyncio.timeout(self._lease.seconds / 2):
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

    # In the event loop.

    async def _end(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            term.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await term
        self._ended()
