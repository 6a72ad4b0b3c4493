"""Runs the PromQL queries of rollouts concurrently with reconciling.

A decision names the queries that it needs (core.plan.Apply.queries) and reads the latest results
through the cache; its object is queued again when a new result has arrived. prometheus.py does the
HTTP. The address is a setting of the operator, never a field of an object: users write queries, not
URLs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from modelyard.core.plan import Key, MetricQuery, QueryResult
from modelyard.runtime.prometheus import Prometheus, QueryError

log = logging.getLogger(__name__)

CONCURRENT_QUERIES = 8
"""Maximum concurrent queries."""
REMEMBERED = 1000
"""Results to keep, least recently used first out."""
MIN_INTERVAL = timedelta(seconds=1)
"""Minimum time between two runs of one query."""

NOT_SET = "no Prometheus is configured: set the chart's prometheus.url"


class MetricQueries:
    """The latest result of each query, and the queries in flight."""

    def __init__(
        self,
        prometheus: Prometheus | None,
        *,
        wake: Callable[[Key, float], None],
        on_query: Callable[[str, float], None] = lambda result, seconds: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`wake` is called with a key and the seconds after which to reconcile it, `on_query` after
        each query with `number` or `problem` and its duration in seconds."""
        self._prometheus = prometheus
        self._wake = wake
        self._on_query = on_query
        self._now = now
        self._answers: OrderedDict[str, QueryResult] = OrderedDict()
        self._waiting: dict[str, set[Key]] = {}
        """Queries in flight, with the keys that wait for them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_QUERIES)

    def __len__(self) -> int:
        return len(self._waiting)

    def answer(self, query: str) -> QueryResult | None:
        """The latest result of a query; None if there is none yet."""
        found = self._answers.get(query)
        if found is not None:
            self._answers.move_to_end(query)
        return found

    def ask(self, key: Key, queries: Sequence[MetricQuery]) -> None:
        """Run the queries that have no recent enough result; the key is queued when there is one.

        Must be called right after the decision, without an await between: a result that the
        decision could have read queues nothing.
        """
        for query, at_least in queries:
            known = self._answers.get(query)
            if known is not None and known.at >= at_least:
                continue
            if query in self._waiting:
                self._waiting[query].add(key)
                continue
            earliest = at_least if known is None else max(at_least, known.at + MIN_INTERVAL)
            wait = (earliest - self._now()).total_seconds()
            if wait > 0:
                self._wake(key, wait)
                continue
            self._waiting[query] = {key}
            task = asyncio.create_task(self._ask(query), name="prometheus query")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Cancel the queries in flight: another replica leads now."""
        for task in self._tasks:
            task.cancel()
        self._waiting.clear()

    async def close(self) -> None:
        """Cancel the queries in flight and close the connection."""
        self.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._prometheus is not None:
            await self._prometheus.close()

    async def _ask(self, query: str) -> None:
        async with self._slots:
            started, at = time.perf_counter(), self._now()
            value, problem = await self._number(query)
            self._on_query("problem" if problem else "number", time.perf_counter() - started)
        self._answers[query] = QueryResult(value, problem, at)
        self._answers.move_to_end(query)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        for key in self._waiting.pop(query, ()):
            # A decision that needs a more recent result asks for it again.
            self._wake(key, 0.0)

    async def _number(self, query: str) -> tuple[float | None, str]:
        if self._prometheus is None:
            return None, NOT_SET
        try:
            return await self._prometheus.number(query), ""
        except QueryError as error:
            return None, str(error)
        except Exception as error:
            # The decisions that wait for the result must see the failure.
            log.exception("asking Prometheus failed")
            return None, f"the operator failed on this query ({type(error).__name__}): see its log"
