"""The endpoint for kubelet and Prometheus: /readyz, /healthz, /metrics, /drift."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_PROBE_SECONDS = 1.5
"""Less than the kubelet waits."""


def application(
    *,
    ready: Callable[[], Awaitable[str]],
    healthy: Callable[[], str],
    registry: CollectorRegistry,
    drift: Callable[[], dict[str, Any]] = dict,
) -> web.Application:
    """The endpoint. `ready` and `healthy` return what is wrong, or an empty text; `drift` what
    `modelyard drift` shows, which takes a moment."""

    async def readyz(_request: web.Request) -> web.Response:
        try:
            return _answer(await asyncio.wait_for(ready(), _PROBE_SECONDS))
        except TimeoutError:
            return _answer("Triton does not answer in time")

    async def healthz(_request: web.Request) -> web.Response:
        return _answer(healthy())

    async def metrics(_request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)

    async def charts(_request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(drift))

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/drift", charts)
    return app


@asynccontextmanager
async def served(app: web.Application, host: str, port: int) -> Any:
    """Serves the endpoint for as long as the context is open. Raises OSError if the port is
    taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _answer(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)
