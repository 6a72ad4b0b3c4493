"""The life of the operator's process: connect, watch, reconcile, stop.

kopf watches (kopf_adapter.py) and the engine reconciles (runtime/engine.py), each in a task of its
own. A signal stops both, and the end of one stops the other. The process waits until the engine has
ended its writes and released its Lease, and for kopf no longer than KOPF_STOP_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import Sequence

from modelyard.core.plan import Controller
from modelyard.handlers import kopf_adapter
from modelyard.handlers.discovery import missing_kinds, wait_served, watch_for
from modelyard.kube import kinds
from modelyard.kube.client import HttpApi
from modelyard.kube.connection import Connection
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.engine import Engine
from modelyard.runtime.loop_thread import LoopThread
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.server import serve
from modelyard.runtime.settings import EngineSettings

KOPF_STOP_SECONDS = 2.0


async def run(controllers: Sequence[Controller], settings: EngineSettings) -> None:
    """Run the operator until SIGTERM or SIGINT. SIGUSR1 lists and reconciles everything at once.

    Raises NoConnection, OSError (the port is in use), and whatever ends kopf or the engine.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    connection = await Connection.open()
    metrics = Metrics()
    api = HttpApi(
        connection,
        limit=settings.workers * 2,
        seconds=settings.request_seconds,
        on_request=metrics.requested,
    )
    absent = await missing_kinds(controllers, api)
    lease_thread = LoopThread("lease")
    lease_api = await lease_thread.submit(_lease_api(settings, metrics))
    engine = Engine(
        controllers,
        settings,
        api,
        metrics,
        lease_api=lease_api,
        lease_thread=lease_thread,
        absent=absent,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, engine.resync)
    watched = [kinds.by_name(name) for name in engine.kinds]
    runner = await serve(engine, settings)
    watch = asyncio.create_task(_watch(watched, engine, connection, api, stop), name="kopf")
    lead = asyncio.create_task(engine.run(stop), name="engine")
    appeared = asyncio.create_task(watch_for(absent, api, stop), name="optional kinds")
    try:
        await asyncio.wait((watch, lead), return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await lead
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KOPF_STOP_SECONDS):
                await watch
    finally:
        appeared.cancel()
        await runner.cleanup()
        await api.close()
        await lease_thread.submit(lease_api.close())
        lease_thread.close()


async def _lease_api(settings: EngineSettings, metrics: Metrics) -> HttpApi:
    """Connections of the Lease's own, in its thread: they do not wait behind other requests."""
    return HttpApi(
        await Connection.open(),
        limit=1,
        seconds=settings.request_seconds,
        on_request=metrics.requested,
    )


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _watch(
    watched: Sequence[KubeKind],
    engine: Engine,
    connection: Connection,
    api: HttpApi,
    stop: asyncio.Event,
) -> None:
    if not await wait_served(watched, engine.watches, api, stop):
        return
    await kopf_adapter.watch(
        watched,
        connection=connection,
        watches=engine.watches,
        on_event=engine.on_event,
        stop=stop,
        restore_signals=functools.partial(_stop_on_signals, stop),
    )
