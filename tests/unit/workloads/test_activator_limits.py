"""Connections that nobody uses do not stay open, and do not keep others out. Real sockets; the
server is one that answers with what it gets, and nothing is scaled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from modelyard.workloads.activator.proxy import Limits, Proxy
from modelyard.workloads.activator.servers import Address, Servers

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def proxied(**limits: Any) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Yields what opens a connection through a proxy."""

    async def nothing() -> None:
        pass

    async def ready() -> bool:
        return True

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    backend = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = Address(*backend.sockets[0].getsockname()[:2])
    servers = Servers(scale_up=nothing, scale_down=nothing, ready=ready, drain_seconds=0)
    proxy = Proxy(Limits(**{"after": 60, "wait": 1, **limits}), servers)
    front = await proxy.listen("127.0.0.1", 0, address)
    timer = asyncio.create_task(proxy.run_idle_timer(every=0.05))
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Client:
        client = await asyncio.open_connection(*front.sockets[0].getsockname()[:2])
        opened.append(client[1])
        return client

    yield connect
    timer.cancel()
    for writer in opened:
        writer.close()
    front.close()
    backend.close()


async def answered(client: Client, text: bytes = b"ping") -> bool:
    client[1].write(text)
    return await asyncio.wait_for(client[0].read(100), 5) == text


async def closed(client: Client) -> bool:
    try:
        return await asyncio.wait_for(client[0].read(1), 5) == b""
    except ConnectionError:
        return True


async def test_a_connection_without_a_byte_is_closed_after_a_time() -> None:
    async with proxied(silent=0.2) as connect:
        busy = await connect()
        assert await answered(busy)
        silent = [await connect() for _ in range(50)]
        for client in silent:
            assert await closed(client)
        assert await answered(busy)


async def test_an_idle_connection_is_closed_after_a_longer_one() -> None:
    async with proxied(after=0.4, wait=0.2, idle=0.1) as connect:
        idle, busy = await connect(), await connect()
        assert await answered(idle)
        for _ in range(12):
            assert await answered(busy)
            await asyncio.sleep(0.1)
        assert await closed(idle)
        assert await answered(busy)


async def test_those_that_are_idle_longest_make_room() -> None:
    async with proxied(max_open=20) as connect:
        used = await connect()
        silent = [await connect() for _ in range(100)]
        assert await closed(used), "silent for longer than all others"
        late = await connect()
        assert await answered(late)
        more = [await connect() for _ in range(30)]
        assert await answered(more[-1])
        still_open = [one for one in (*silent, *more) if not one[0].at_eof()]
        await asyncio.sleep(0.1)
        assert sum(not one[0].at_eof() for one in still_open) <= 20


async def test_clients_that_await_an_answer_are_not_pushed_out() -> None:
    async with proxied(max_open=3) as connect:
        waiting = [await connect() for _ in range(3)]
        for client in waiting:
            assert await answered(client)
        extra = await connect()
        assert await answered(extra)
        assert await closed(waiting[0])
        assert await answered(waiting[1])
