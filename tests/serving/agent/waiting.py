"""Polling for tests of the agent and its Triton; `site` is the Site of conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...waiting import eventually


async def until(site: Any, look: Callable[[dict[str, Any]], Any], seconds: float = 120) -> Any:
    """The first true result of `look` for the ModelServer's status."""
    what = lambda: f"{site.status()}\n{site.agent.log()}"  # noqa: E731
    return await eventually(lambda: look(site.status()), seconds, what)


async def until_traffic(site: Any, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The reported traffic, as soon as it is enough."""
    return await until(site, lambda s: (t := s.get("traffic")) and enough(t) and t, 30)


async def until_answers(site: Any, version: str) -> None:
    """Until a version answers under the model line's name."""

    async def look() -> bool:
        return await site.answers() == version

    await eventually(look, 60, site.agent.log)


async def until_ready(site: Any, seconds: float = 30) -> None:
    """Until the readiness probe succeeds; on a busy machine it may fail once."""
    await eventually(lambda: site.agent.probe()[0] == 200, seconds, site.agent.log)
