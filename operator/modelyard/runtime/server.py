"""HTTP server for Prometheus and the kubelet: /metrics, /healthz and /readyz.

See metrics.py and health.py for what they return.
"""

from __future__ import annotations

from aiohttp import web

from modelyard.runtime import health
from modelyard.runtime.engine import Engine
from modelyard.runtime.settings import EngineSettings

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def serve(engine: Engine, settings: EngineSettings) -> web.AppRunner:
    """Start the server; the runner's `cleanup` stops it. Raises OSError if the port is in use."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=engine.metrics.render(), headers={"Content-Type": METRICS_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        found = health.problems(
            engine,
            stalled_seconds=settings.stalled_seconds,
            resync_seconds=settings.resync_seconds,
        )
        return web.Response(text="\n".join(found) or "ok", status=503 if found else 200)

    async def readyz(_: web.Request) -> web.Response:
        problems = engine.watches.problems()
        if not engine.watches.complete:
            problems.append("watches have not started yet")
        if problems:
            return web.Response(text="\n".join(problems), status=503)
        return web.Response(text="leading" if engine.leading else "standing by")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, settings.listen_address, settings.listen_port).start()
    return runner
