"""Waiting for what the agent and its Triton do in their own time; `site` is the fixtures' Site."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


async def eventually(
    look: Callable[[], Any], seconds: float = 60, what: Callable[[], str] = lambda: ""
) -> Any:
    """What `look`, which may be a coroutine function, returns once it is true; fails the test
    after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        await asyncio.sleep(0.1)


async def until(site: Any, look: Callable[[dict[str, Any]], Any], seconds: float = 120) -> Any:
    """What `look` makes of the ModelServer's status, once it is true."""
    what = lambda: f"{site.status()}\n{site.agent.log()}"  # noqa: E731
    return await eventually(lambda: look(site.status()), seconds, what)


async def until_traffic(site: Any, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The reported traffic, once it is enough."""
    return await until(site, lambda s: (t := s.get("traffic")) and enough(t) and t, 30)


async def until_answers(site: Any, version: str) -> None:
    """Until a version answers under the model line's name."""

    async def look() -> bool:
        return await site.answers() == version

    await eventually(look, 60, site.agent.log)


async def until_ready(site: Any, seconds: float = 30) -> None:
    """Until the readiness probe is met, which a busy machine may make it miss once."""
    await eventually(lambda: site.agent.probe()[0] == 200, seconds, site.agent.log)
