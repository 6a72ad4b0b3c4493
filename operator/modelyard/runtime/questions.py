"""Asks Prometheus what decisions want to know, beside everything else.

The address is the operator's setting, never an object's: users write queries, not URLs.
HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from modelyard.core.plan import Answer, Key, Question

log = logging.getLogger(__name__)

SECONDS = 10.0
"""Longest time for one query."""
AT_ONCE = 8
REMEMBERED = 1000
"""Answers that are kept; the ones not asked for the longest time go first."""
TOKEN_SECONDS = 60.0


class Questions:
    """The latest answer to each query."""

    def __init__(
        self,
        url: str | None,
        *,
        token_file: str | None = None,
        answered: Callable[[Key], None],
        asked: Callable[[str], None] = lambda result: None,
    ) -> None:
        """`answered` is called with each key whose question was answered, `asked` with `number` or
        `problem` after each query."""
        self._url = url.rstrip("/") if url else None
        self._token_file = Path(token_file) if token_file else None
        self._token = ""
        self._token_read = float("-inf")
        self._answered = answered
        self._asked = asked
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._waiting: dict[str, set[Key]] = {}
        """Queries under way, with who waits for them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    def answer(self, query: str) -> Answer | None:
        """The latest answer to a query; None if there is none yet."""
        return self._answers.get(query)

    def ask(self, key: Key, questions: Sequence[Question]) -> None:
        """Ask what has no answer that is young enough; `answered` tells when there is one."""
        for query, at_least in questions:
            known = self._answers.get(query)
            if known is not None and known.at >= at_least:
                self._answered(key)
                continue
            waiting = self._waiting.get(query)
            if waiting is not None:
                waiting.add(key)
                continue
            self._waiting[query] = {key}
            task = asyncio.create_task(self._ask(query), name="prometheus query")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(self, query: str) -> None:
        async with self._room:
            asked = datetime.now(UTC)
            value, problem = await self._query(query)
        self._asked("problem" if problem else "number")
        self._answers[query] = Answer(value, problem, asked)
        self._answers.move_to_end(query)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        for key in self._waiting.pop(query):
            self._answered(key)

    async def _query(self, query: str) -> tuple[float | None, str]:
        """The number, or None and why there is none."""
        if self._url is None:
            return None, "no Prometheus is configured: set the chart's prometheus.url"
        try:
            headers = await self._headers()
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            async with self._open().get(
                f"{self._url}/api/v1/query",
                params={"query": query},
                headers=headers,
                timeout=timeout,
            ) as response:
                body = await response.json(content_type=None)
                return _number(body, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            return None, f"Prometheus at {self._url} does not answer: {words}"

    async def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        if time.monotonic() - self._token_read > TOKEN_SECONDS:
            self._token = (await asyncio.to_thread(self._token_file.read_text)).strip()
            self._token_read = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session


def _number(body: Any, status: int) -> tuple[float | None, str]:
    """The one number of an answer to an instant query."""
    if not isinstance(body, dict) or body.get("status") != "success":
        words = body.get("error") if isinstance(body, dict) else None
        return None, f"Prometheus refuses the query: {words or f'HTTP status {status}'}"
    data = body.get("data") or {}
    result = data.get("result")
    if data.get("resultType") == "scalar":
        sample: Any = result
    elif data.get("resultType") == "vector" and isinstance(result, list):
        if len(result) != 1:
            return None, f"the query gives {len(result)} series, not one"
        sample = result[0].get("value")
    else:
        return None, f"the query gives a {data.get('resultType')}, not one number"
    try:
        number = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError):
        return None, "the query's answer cannot be read"
    return (number, "") if math.isfinite(number) else (None, f"the query gives {sample[1]}")
