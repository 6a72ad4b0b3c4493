"""The life of the operator's process: connect, watch, lead, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import kopf

from modelyard.core.plan import Controller
from modelyard.handlers import watching
from modelyard.kube import kinds
from modelyard.kube.client import HttpApi
from modelyard.kube.connection import Connection
from modelyard.kube.errors import ApiError
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.engine import Engine
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.server import serve
from modelyard.runtime.settings import EngineSettings

log = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
KOPF_STOP_SECONDS = 2.0


async def run(controllers: Sequence[Controller], settings: EngineSettings) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises NoConnection, OSError (the port is taken), and whatever ends kopf.
    """
    connection = await Connection.open()
    metrics = Metrics()
    api = HttpApi(connection, limit=settings.workers * 2, on_request=metrics.requested)
    engine = Engine(controllers, settings, api, metrics)
    watched = [kinds.by_name(name) for name in engine.kinds]
    runner = await serve(engine, settings)
    kopf_stop, engine_stop = asyncio.Event(), asyncio.Event()
    watch = asyncio.create_task(_watch(watched, engine, connection, api, kopf_stop), name="kopf")
    lead = asyncio.create_task(engine.run(engine_stop), name="engine")
    try:
        # kopf handles the signals: when it ends, for whatever reason, so do we.
        await asyncio.wait((watch, lead), return_when=asyncio.FIRST_COMPLETED)
        engine_stop.set()
        kopf_stop.set()
        await lead
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KOPF_STOP_SECONDS):
                await watch
    finally:
        await runner.cleanup()
        await api.close()


async def _watch(
    watched: Sequence[KubeKind],
    engine: Engine,
    connection: Connection,
    api: HttpApi,
    stop: asyncio.Event,
) -> None:
    await _wait_served(watched, api)
    await kopf.operator(
        registry=watching.registry(watched, engine, connection),
        settings=watching.settings(watched),
        standalone=True,
        clusterwide=True,
        stop_flag=stop,
    )


async def _wait_served(watched: Sequence[KubeKind], api: HttpApi) -> None:
    """Return when the API server knows all kinds: kopf looks only once."""
    for kind in watched:
        told = ""
        while True:
            try:
                if await api.served(kind):
                    break
                trouble = f"waiting for {kind.plural}.{kind.group}: install the CRDs"
            except ApiError as error:
                trouble = f"waiting for the API server: {error}"
            if trouble != told:
                log.warning(trouble)
                told = trouble
            await asyncio.sleep(WAIT_SECONDS)
