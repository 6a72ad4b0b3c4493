"""Listing mends the cache, and only the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelyard.kube.api import Page
from modelyard.kube.cache import Cache
from modelyard.kube.errors import Expired
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.resync import Resync, StaleList


def job(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"uid": name, "name": name, "resourceVersion": str(version)}}


class Lister:
    def __init__(self, *pages: Page, fail: bool = False) -> None:
        self._pages = pages
        self._fail = fail

    async def pages(self, _: Any) -> AsyncIterator[Page]:
        for page in self._pages:
            yield page
        if self._fail:
            raise Expired("the continue token is too old")


def resync(cache: Cache, lister: Lister) -> Resync:
    api: Any = lister
    return Resync(
        api,
        cache,
        Metrics(),
        put=lambda kind, obj: cache.put(kind, obj) is not None,
        drop=lambda uid: cache.drop(uid) is not None,
    )


@pytest.fixture
def cache() -> Cache:
    made = Cache(["Job"])
    for version, name in enumerate(("old", "same", "vanished"), start=10):
        made.put("Job", job(name, version))
    made.put("Job", job("newer", 99))
    return made


def names(cache: Cache) -> set[str]:
    return {name for _, name in cache.names("Job")}


async def test_missing_old_and_vanished_are_mended_and_counted(cache: Cache) -> None:
    pages = Page([job("old", 20), job("same", 11)], 50), Page([job("missing", 30)], 50)
    assert await resync(cache, Lister(*pages)).one("Job") == 3
    assert names(cache) == {"old", "same", "missing", "newer"}, "newer came after the list"
    assert await resync(cache, Lister(*pages)).one("Job") == 0


async def test_a_list_that_breaks_off_drops_nothing(cache: Cache) -> None:
    with pytest.raises(Expired):
        await resync(cache, Lister(Page([], 50), fail=True)).one("Job")
    assert names(cache) == {"old", "same", "vanished", "newer"}


async def test_a_list_of_the_past_is_refused(cache: Cache) -> None:
    with pytest.raises(StaleList, match="older than 60"):
        await resync(cache, Lister(Page([], 50))).one("Job", at_least=60)
    assert "vanished" in names(cache)
