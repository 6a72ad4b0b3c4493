"""Polling until a condition holds, for tests of processes that run at their own speed.

`until` is for threads, `eventually` for coroutines. Both fail the test after a timeout.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def until(
    check: Callable[[], Any], seconds: float = 60.0, what: str = "", *, pause: float = 0.05
) -> Any:
    """The first true result of `check`, called every `pause` seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or check}"
        time.sleep(pause)


async def eventually(
    check: Callable[[], Any],
    seconds: float = 60.0,
    what: Callable[[], str] = lambda: "",
    *,
    pause: float = 0.1,
) -> Any:
    """The first true result of `check`, which may be a coroutine function. `what` describes the
    state when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what()}"
        await asyncio.sleep(pause)
