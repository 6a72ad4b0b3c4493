"""Asks Prometheus what decisions want to know, beside everything else.

The address is the operator's setting, never an object's: users write queries, not URLs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from modelyard.core.plan import Key, MetricQuery, QueryResult
from modelyard.runtime.prometheus import Prometheus, Trouble

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Queries under way at the same time."""
REMEMBERED = 1000
"""Answers that are kept; the ones that nobody has looked at for longest go first."""
REST = timedelta(seconds=1)
"""No query is asked more often than this."""

NOT_SET = "no Prometheus is configured: set the chart's prometheus.url"


class MetricQueries:
    """The latest answer to each query, and the queries under way."""

    def __init__(
        self,
        prometheus: Prometheus | None,
        *,
        wake: Callable[[Key, float], None],
        asked: Callable[[str, float], None] = lambda result, seconds: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`wake` is called with a key and the seconds after which it must be looked at again,
        `asked` after each query with `number` or `problem` and its seconds."""
        self._prometheus = prometheus
        self._wake = wake
        self._asked = asked
        self._now = now
        self._answers: OrderedDict[str, QueryResult] = OrderedDict()
        self._waiting: dict[str, set[Key]] = {}
        """Queries under way, with who waits for them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        return len(self._waiting)

    def answer(self, query: str) -> QueryResult | None:
        """The latest answer to a query; None if there is none yet."""
        found = self._answers.get(query)
        if found is not None:
            self._answers.move_to_end(query)
        return found

    def ask(self, key: Key, queries: Sequence[MetricQuery]) -> None:
        """Ask what has no answer that is young enough; the key is woken when there is one.

        To be called right after the decision, before anything else happens: an answer that it
        could have seen wakes nobody.
        """
        for query, at_least in queries:
            known = self._answers.get(query)
            if known is not None and known.at >= at_least:
                continue
            if query in self._waiting:
                self._waiting[query].add(key)
                continue
            earliest = at_least if known is None else max(at_least, known.at + REST)
            wait = (earliest - self._now()).total_seconds()
            if wait > 0:
                self._wake(key, wait)
                continue
            self._waiting[query] = {key}
            task = asyncio.create_task(self._ask(query), name="prometheus query")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Give up what is under way: somebody else reconciles now."""
        for task in self._tasks:
            task.cancel()
        self._waiting.clear()

    async def close(self) -> None:
        """Give up what is under way, for good."""
        self.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._prometheus is not None:
            await self._prometheus.close()

    async def _ask(self, query: str) -> None:
        async with self._room:
            started, at = time.perf_counter(), self._now()
            value, problem = await self._number(query)
            self._asked("problem" if problem else "number", time.perf_counter() - started)
        self._answers[query] = QueryResult(value, problem, at)
        self._answers.move_to_end(query)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        for key in self._waiting.pop(query, ()):
            # Who needs a younger answer asks again.
            self._wake(key, 0.0)

    async def _number(self, query: str) -> tuple[float | None, str]:
        if self._prometheus is None:
            return None, NOT_SET
        try:
            return await self._prometheus.number(query), ""
        except Trouble as trouble:
            return None, str(trouble)
        except Exception as error:
            # Whoever waits must hear of it.
            log.exception("asking Prometheus failed")
            return None, f"the operator failed on this query ({type(error).__name__}): see its log"
