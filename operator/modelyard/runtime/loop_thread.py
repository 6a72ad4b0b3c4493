"""An event loop in a thread of its own, for work that must go on while the main one is busy.

The Lease is renewed here (leadership.py): a decision that computes for seconds then delays
reconciles, but does not end the term. Python switches threads every few milliseconds, so only a
single long call into C could delay both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Starts the thread; `close` ends it. What belongs to its loop, such as connections, must be
    made, used and closed by coroutines that run in it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a request that hangs in it must not keep the process from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run a coroutine in the thread; the caller's loop awaits or cancels the future."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End the thread; what still runs in it is abandoned."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1.0)
