"""Lists everything: fills the cache, drops deleted objects, corrects what a watch has missed.

engine.py does this at the start of a term, regularly, and for a kind whose watch was lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from modelyard.kube import kinds
from modelyard.kube.api import Api, Object
from modelyard.kube.cache import Cache
from modelyard.kube.errors import ApiError
from modelyard.runtime.malloc import trim_heap
from modelyard.runtime.metrics import Metrics

log = logging.getLogger(__name__)

CONCURRENT_LISTS = 3
"""Kinds that are listed concurrently; each has a page of decoded objects in memory."""


class StaleList(ApiError):
    """A list is older than required."""


class Resync:
    """Makes the cache equal to what the API server lists."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        metrics: Metrics,
        *,
        put: Callable[[str, Object], bool],
        drop: Callable[[str], bool],
    ) -> None:
        self._api = api
        self._cache = cache
        self._metrics = metrics
        self._put = put
        """Puts (kind, object) into the cache and queues what depends on it; returns whether it was
        newer."""
        self._drop = drop
        """Drops an object (UID) from the cache and queues what depends on it; returns whether it
        was cached."""

    async def all(self, names: Iterable[str], *, at_least: int = 0) -> int:
        """List these kinds; returns the number of objects that had to be corrected in the cache.

        Raises StaleList if a list is older than resourceVersion `at_least`, and ApiError.
        """
        slots = asyncio.Semaphore(CONCURRENT_LISTS)

        async def one(name: str) -> int:
            async with slots:
                return await self.one(name, at_least=at_least)

        try:
            async with asyncio.TaskGroup() as group:
                lists = [group.create_task(one(name)) for name in names]
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            trim_heap()
        return sum(listed.result() for listed in lists)

    async def one(self, name: str, *, at_least: int = 0) -> int:
        """List one kind; see `all`."""
        kind = kinds.by_name(name)
        seen: set[str] = set()
        version = wrong = 0
        async for page in self._api.pages(kind):
            version = page.resource_version
            if version < at_least:
                raise StaleList(
                    f"the API server lists {name} as of resourceVersion {version}, which is older "
                    f"than {at_least}"
                )
            for item in page.items:
                seen.add(item["metadata"]["uid"])
                wrong += self._put(name, item)
        wrong += sum(self._drop(uid) for uid in self._cache.stale(name, seen, version))
        if wrong:
            self._metrics.repaired(name, wrong)
        return wrong
