"""Looks at a metrics page, served by a real HTTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from modelyard.api.modelserver import LoadedVersion
from modelyard.workloads.agent import sampler as module
from modelyard.workloads.agent.sampler import Sampler
from modelyard.workloads.agent.window import SETTLE_SECONDS


def loaded(content: str) -> LoadedVersion:
    """Version 1 of some content."""
    since = "2026-11-22T12:00:00Z"
    return LoadedVersion(model_version="digits-1", version=1, digest=content, since=since)


def page(begun: int, ended: int) -> str:
    """One version's counters: hand-overs of so many images have begun and ended."""
    labels = 'model="digits",version="1"'
    return (
        f"modelyard_latency_count{{{labels}}} {begun}\n"
        f"modelyard_confidence_count{{{labels}}} {begun}\n"
        f"modelyard_images_total{{{labels}}} {ended}\n"
    )


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., object]]:
    runners = []

    async def start(answer: Callable[[], str]) -> str:
        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=answer())

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runners[-1], listener).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"

    yield start
    for runner in runners:
        await runner.cleanup()


async def looks(
    url: str, monkeypatch: pytest.MonkeyPatch, seconds: list[float], enough: Callable[[], bool]
) -> Sampler:
    """A sampler that has looked until it is enough, at a clock of its own that goes on by the
    sampler's pauses."""
    now = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    async def sleep(pause: float) -> None:
        nonlocal now
        now += pause
        seconds.append(pause)
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr(module, "time", Clock)
    sampler = Sampler(url, "digits", lambda: loaded("a"))
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    running = asyncio.create_task(sampler.run())
    while not enough():
        await real(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return sampler


async def test_a_page_with_half_of_the_counters_is_looked_at_again_soon(serve, monkeypatch):
    pages = [page(0, 0), page(5, 5), page(9, 5), page(9, 9)]
    url = await serve(lambda: pages.pop(0) if len(pages) > 1 else pages[0])
    pauses: list[float] = []

    sampler = await looks(url, monkeypatch, pauses, lambda: len(pauses) >= 4)

    assert pauses[:4] == [3.0, 3.0, 0.2, 3.0]
    found = sampler.figures()
    assert (found.requests, found.boxes) == (4, 4)


async def test_counters_that_stay_halved_are_taken_as_they_are(serve, monkeypatch):
    asked = 0

    def answer() -> str:
        nonlocal asked
        asked += 1
        return page(2 * asked + 1, 2 * asked)

    pauses: list[float] = []

    sampler = await looks(await serve(answer), monkeypatch, pauses, lambda: len(pauses) >= 18)

    # Five tries, then one that counts; the first that counts only begins the window.
    assert pauses[:12] == [*[0.2] * 5, 3.0, *[0.2] * 5, 3.0]
    assert SETTLE_SECONDS < 3 + 5 * 0.2
    assert sampler.figures().requests == 12


async def test_a_version_made_again_under_its_number_is_measured_anew(serve, monkeypatch):
    done = 0

    def answer() -> str:
        nonlocal done
        done += 10
        return page(done, done)

    pauses: list[float] = []
    sampler = await looks(await serve(answer), monkeypatch, pauses, lambda: len(pauses) >= 4)
    assert sampler.figures() is not None

    monkeypatch.setattr(sampler, "_serving", lambda: loaded("b"))

    assert sampler.figures() is None, "what the other one answered is not its own"
