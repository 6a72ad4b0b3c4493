"""The faults: each strikes at one write of the operator, or from there on.

`at` is the name of that write (`writes.py`); `rng` decides the rest, so that a plan's fault is the
same each time. All run in the proxy's event loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from aiohttp import web

from .proxy import Call, Cut, Exchange, Fault, HttpAnswer, Proxy, Stream

WITHHELD = 1.5
"""Seconds for which a view stays old."""


class World:
    """What a fault may do besides answering."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.pid = 0
        self.killed = False

    def kill(self) -> None:
        """SIGKILL for the operator; nothing of it reaches the API server any more."""
        self.proxy.cut()
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def resync(self) -> None:
        """What the operator does by itself every ten minutes."""
        os.kill(self.pid, signal.SIGUSR1)


class Planned(Fault):
    """A fault with its place."""

    env: ClassVar[Mapping[str, str]] = {}
    """Settings of the operator that it needs."""

    def __init__(self, world: World, at: str, rng: random.Random) -> None:
        self.world = world
        self.at = at
        self.rng = rng
        self.fired = False
        self.position = 0
        """Position of the write at which it struck among all writes, from 1."""
        self.broken: list[str] = []
        """What the operator did wrong in its answer to the fault."""
        self.over = False
        """Whether it has ended: everything passes from now on."""

    def here(self, exchange: Exchange) -> bool:
        """Whether this is the write to strike at, for the first time."""
        call = exchange.call
        if self.fired or call is None or call.name != self.at:
            return False
        self.fired, self.position = True, call.number
        return True

    def started(self) -> None:
        """A process has been started (not the first)."""

    def end(self) -> None:
        """Let everything pass from now on."""
        self.over = True


async def withhold(fault: StaleWatch | Lag) -> None:
    """Wait until a fault's time is over; it may be prolonged or ended meanwhile."""
    while fault.fired and not fault.over and time.monotonic() < fault.until:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


class KillAfter(Planned):
    """Killed right after it has the answer to a write."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if not self.here(exchange):
            return await super().exchange(exchange)
        answer = await exchange.forward()
        self.world.proxy.cut()
        response = await exchange.deliver(answer)
        self.world.kill()
        return response


class KillBefore(Planned):
    """Killed after the API server has done a write, before the operator has the answer."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if not self.here(exchange):
            return await super().exchange(exchange)
        await exchange.forward()
        self.world.kill()
        raise Cut


class KillTwice(KillAfter):
    """Killed after a write, and each successor soon again, after one of its first three."""

    _next = 0
    """Position of the write after which the successor is killed; 0 before the first kill."""

    def here(self, exchange: Exchange) -> bool:
        if not self._next:
            return super().here(exchange)
        if self.fired or exchange.call is None or exchange.call.number != self._next:
            return False
        self.fired = True
        return True

    def started(self) -> None:
        if self.fired and not self.over:
            made = len(self.world.proxy.calls)
            self._next, self.fired = made + self.rng.randint(1, 3), False

    def end(self) -> None:
        super().end()
        self.fired = self.fired or self._next > 0


class StaleWatch(KillAfter):
    """Killed after a write; its successor's watches bring nothing new for a while."""

    until = float("inf")

    def started(self) -> None:
        self.until = time.monotonic() + WITHHELD

    async def events(self, stream: Stream, event: dict[str, Any]) -> bool:
        await withhold(self)
        return True


class Frozen(StaleWatch):
    """Killed after a write; its successor lists and watches an earlier moment for a while."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        past = self.fired and not self.over and time.monotonic() < self.until
        if past and exchange.is_list and "continue" not in exchange.query:
            exchange.query["resourceVersion"] = str(self._moment())
            exchange.query["resourceVersionMatch"] = "Exact"
        return await super().exchange(exchange)

    def started(self) -> None:
        super().started()
        self._back = self.rng.randint(0, 4)

    def _moment(self) -> int:
        return self.world.proxy.versions[max(0, self.position - 1 - self._back)]


class Lag(Planned):
    """From a write on, watch events come late."""

    until = 0.0

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if self.here(exchange):
            self.until = time.monotonic() + WITHHELD
        return await super().exchange(exchange)

    async def events(self, stream: Stream, event: dict[str, Any]) -> bool:
        await withhold(self)
        return True


class Missed(Planned):
    """From a write on, some watch events never arrive; then comes a resync."""

    _missing = 0

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if self.here(exchange):
            self._missing = self.rng.randint(3, 8)
            asyncio.get_running_loop().call_later(WITHHELD, self._mend)
        return await super().exchange(exchange)

    async def events(self, stream: Stream, event: dict[str, Any]) -> bool:
        if self._missing and event["type"] != "BOOKMARK":
            self._missing -= 1
            return False
        return True

    def _mend(self) -> None:
        self._missing = 0
        if not self.over:
            self.world.resync()


class Refused(Planned):
    """A write is refused, once or twice, although nothing is wrong with it."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if exchange.call is not None and (self.here(exchange) or self._again(exchange.call)):
            self._times -= 1
            return await exchange.deliver(self.answer(exchange.call))
        return await super().exchange(exchange)

    _times = 2
    _what = ""

    def _again(self, call: Call) -> bool:
        return self.fired and call.target == self._what and self._times > 0

    def here(self, exchange: Exchange) -> bool:
        struck = super().here(exchange)
        if struck and exchange.call is not None:
            self._what = exchange.call.target
        return struck

    def answer(self, call: Call) -> HttpAnswer:
        """The refusal."""
        raise NotImplementedError


class Conflict(Refused):
    """409, as if somebody else had written first."""

    def answer(self, call: Call) -> HttpAnswer:
        if call.verb == "create":
            return HttpAnswer.refusal(409, "AlreadyExists", f"{call.target} already exists")
        return HttpAnswer.refusal(409, "Conflict", f"{call.target} has been modified")


class ServerError(Refused):
    """500 before anything was done."""

    def answer(self, call: Call) -> HttpAnswer:
        return HttpAnswer.refusal(500, "InternalError", "etcdserver: request timed out")


class Patience(Refused):
    """429 with Retry-After, which must be honoured."""

    SECONDS = 1
    _asked = float("-inf")

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        call = exchange.call
        # Events are not retried: the next one of the same name is another event.
        again = call is not None and call.kind != "Event" and call.target == self._what
        if self.fired and again:
            waited = time.monotonic() - self._asked
            if waited < self.SECONDS:
                self.broken.append(f"{call} came {waited:.2f} s after 429, Retry-After: 1")
        return await super().exchange(exchange)

    def answer(self, call: Call) -> HttpAnswer:
        self._asked = time.monotonic()
        headers = {"Retry-After": str(self.SECONDS)}
        return HttpAnswer.refusal(429, "TooManyRequests", "try again later", **headers)


class Gone(Planned):
    """410 everywhere: a write, the watches in mid-stream, and the lists that follow."""

    _lists = 3

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        expired = HttpAnswer.refusal(410, "Expired", "too old resource version")
        if self.here(exchange):
            event = {"type": "ERROR", "object": orjson.loads(expired.body)}
            for stream in list(self.world.proxy.streams):
                stream.end(orjson.dumps(event) + b"\n")
            return await exchange.deliver(expired)
        if self.fired and self._lists and exchange.is_list:
            self._lists -= 1
            return await exchange.deliver(expired)
        return await super().exchange(exchange)


class LostAnswer(Planned):
    """A write is done, but its answer is a failure: 500, 504, or a cut connection."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if not self.here(exchange):
            return await super().exchange(exchange)
        await exchange.forward()
        status = self.rng.choice((500, 504, 0))
        if status == 0:
            raise Cut
        return await exchange.deliver(HttpAnswer.refusal(status, "Timeout", "request timed out"))


class Hang(Planned):
    """A write is never answered, whether it was done or not."""

    env: ClassVar[Mapping[str, str]] = {"MODELYARD_REQUEST_SECONDS": "2"}

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if not self.here(exchange):
            return await super().exchange(exchange)
        if self.rng.random() < 0.5:
            await exchange.forward()
        await asyncio.sleep(4)
        raise Cut


class Slow(Planned):
    """Every write takes its time, and one takes long."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if exchange.call is not None and not self.over:
            await asyncio.sleep(1.5 if self.here(exchange) else self.rng.uniform(0, 0.3))
        answer = await exchange.forward()
        if exchange.call is not None and not self.over:
            await asyncio.sleep(self.rng.uniform(0, 0.3))
        return await exchange.deliver(answer)


class Disconnects(Planned):
    """Watches break every second, from a write on."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if self.here(exchange):
            self._break()
        return await super().exchange(exchange)

    def _break(self) -> None:
        for stream in list(self.world.proxy.streams):
            stream.end()
        if not self.over:
            asyncio.get_running_loop().call_later(1, self._break)


class Paging(KillAfter):
    """Killed after a write; its successor's lists come in pages of one, and expire twice."""

    _expiries = 2

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if self.fired and exchange.is_list and not self.over:
            exchange.query["limit"] = "1"
            if "continue" in exchange.query and self._expiries:
                self._expiries -= 1
                return await exchange.deliver(
                    HttpAnswer.refusal(410, "Expired", "continue too old")
                )
        return await super().exchange(exchange)


class LostLease(Planned):
    """The Lease cannot be renewed for longer than it lasts."""

    env: ClassVar[Mapping[str, str]] = {"MODELYARD_LEASE_SECONDS": "2"}
    SECONDS = 3.0
    _until = 0.0

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        if self.here(exchange):
            self._until = time.monotonic() + self.SECONDS
        if "/leases" in exchange.path and time.monotonic() < self._until:
            return await exchange.deliver(HttpAnswer.refusal(500, "InternalError", "no quorum"))
        return await super().exchange(exchange)


class Storm(Planned):
    """From a write on, everything fails now and then, in any way."""

    _left = 12

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        self.here(exchange)
        if not self.fired or self.over or not self._left or self.rng.random() > 0.4:
            return await super().exchange(exchange)
        self._left -= 1
        way = self.rng.choice(("500", "429", "409", "lost", "cut", "late", "watches"))
        if way == "429":
            answer = HttpAnswer.refusal(429, "TooManyRequests", "later", **{"Retry-After": "1"})
            return await exchange.deliver(answer)
        if way == "409" and exchange.call is not None:
            return await exchange.deliver(HttpAnswer.refusal(409, "Conflict", "modified"))
        if way in ("500", "409"):
            return await exchange.deliver(HttpAnswer.refusal(500, "InternalError", "no quorum"))
        if way == "cut":
            raise Cut
        if way == "watches":
            for stream in list(self.world.proxy.streams):
                stream.end()
        answer = await exchange.forward()
        if way == "lost":
            raise Cut
        if way == "late":
            await asyncio.sleep(self.rng.uniform(0, 1))
        return await exchange.deliver(answer)


KILLS: Mapping[str, type[Planned]] = {"kill-after": KillAfter, "kill-before": KillBefore}
"""For every write of every workload."""

SAMPLED: Mapping[str, type[Planned]] = {
    "kill-twice": KillTwice,
    "stale-watch": StaleWatch,
    "frozen": Frozen,
    "lag": Lag,
    "missed": Missed,
    "conflict": Conflict,
    "server-error": ServerError,
    "patience": Patience,
    "gone": Gone,
    "lost-answer": LostAnswer,
    "hang": Hang,
    "slow": Slow,
    "disconnects": Disconnects,
    "paging": Paging,
    "lost-lease": LostLease,
    "storm": Storm,
}
"""For some writes of each workload."""

FAMILIES = {**KILLS, **SAMPLED}
