"""The operator runs where others' CRDs are missing, and notices when they come."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from modelyard.core.plan import Apply, Controller, Plan
from modelyard.handlers.discovery import missing_kinds, wait_served, watch_for
from modelyard.kube import kinds
from modelyard.kube.cache import Cache
from modelyard.kube.errors import Forbidden, Unreachable
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.routing import Router
from modelyard.runtime.watches import Watches


def _decide(observed: Any, now: datetime) -> Plan:
    return Apply()


ROUTED = Controller(
    kind="Deployment",
    observe=lambda view, obj, settings: obj,
    decide=_decide,
    children=("Service",),
    optional=("HTTPRoute", "GRPCRoute"),
)


class Api:
    """Says what it serves."""

    def __init__(self, *served: str) -> None:
        self.has = set(served)
        self.down = 0
        self.forbids = False

    async def served(self, kind: KubeKind) -> bool:
        if self.down:
            self.down -= 1
            raise Unreachable("down")
        if self.forbids:
            raise Forbidden("no", status=403)
        return kind.name in self.has


async def absent(api: Any, seconds: float = 5) -> frozenset[str]:
    return await missing_kinds([ROUTED], api, seconds)


async def test_kinds_that_are_not_installed_are_absent() -> None:
    assert await absent(Api()) == {"HTTPRoute", "GRPCRoute"}
    assert await absent(Api("HTTPRoute")) == {"GRPCRoute"}
    assert await absent(Api("HTTPRoute", "GRPCRoute")) == frozenset()


async def test_kinds_that_may_not_be_read_are_absent() -> None:
    api = Api("HTTPRoute", "GRPCRoute")
    api.forbids = True
    assert await absent(api) == {"HTTPRoute", "GRPCRoute"}


async def test_a_server_that_does_not_answer_is_asked_again_but_not_for_ever() -> None:
    api = Api("HTTPRoute", "GRPCRoute")
    api.down = 1
    assert await absent(api) == frozenset()
    api.down = 10**6
    assert await absent(api, 0.01) == {"HTTPRoute", "GRPCRoute"}


async def test_the_process_ends_when_an_absent_kind_comes() -> None:
    api, stop = Api(), asyncio.Event()
    looking = asyncio.create_task(watch_for({"HTTPRoute"}, api, stop, 0.01))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert not stop.is_set()
    api.has.add("HTTPRoute")
    async with asyncio.timeout(5):
        await stop.wait()
        await looking


async def test_nothing_is_looked_for_where_all_is_there() -> None:
    async with asyncio.timeout(5):
        await watch_for((), Api(), asyncio.Event())  # type: ignore[arg-type]


async def test_a_kind_that_comes_is_told_of_no_more_while_another_is_awaited() -> None:
    api, stop = Api(), asyncio.Event()
    watches = Watches(["Dataset", "Deployment"])
    watched = [kinds.by_name("Dataset"), kinds.by_name("Deployment")]
    waiting = asyncio.create_task(wait_served(watched, watches, api, stop, 0.01))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert len(watches.problems()) == 2
    api.has.add("Dataset")
    await asyncio.sleep(0.05)
    (trouble,) = watches.problems()
    assert "Deployment" in trouble
    assert not waiting.done()
    api.has.add("Deployment")
    async with asyncio.timeout(5):
        assert await waiting
    assert watches.problems() == []


def test_absent_kinds_are_not_watched_and_there_is_none_of_them() -> None:
    watched = Router.watched([ROUTED], {"GRPCRoute"})
    assert watched == ("Deployment", "Service", "HTTPRoute")
    cache = Cache(watched, absent={"GRPCRoute"})
    assert cache.kinds == watched
    assert cache.kind_available("HTTPRoute")
    assert not cache.kind_available("GRPCRoute")
    assert cache.get("GRPCRoute", "shop", "cameras") is None
