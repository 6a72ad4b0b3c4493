"""Which kinds the API server serves.

kopf reads this once, at its start, and then never watches a kind that came later. So the process
waits for our own kinds before it starts kopf (`wait_served`), leaves out optional kinds of others
that are missing (`missing_kinds`), and restarts when one of those appears (`watch_for`). See
kopf_adapter.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterable, Sequence

from modelyard.core.plan import Controller
from modelyard.kube import kinds
from modelyard.kube.client import HttpApi
from modelyard.kube.errors import ApiError, Forbidden
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.watches import Watches

log = logging.getLogger(__name__)

NOT_SERVED = 404
"""HTTP status of a kind without a CRD."""
START_SECONDS = 5.0
"""How long `missing_kinds` waits for an API server that does not answer."""
RETRY_SECONDS = 2.0
CHECK_SECONDS = 60.0
"""Interval at which `watch_for` checks for missing optional kinds."""


async def refusal(kind: KubeKind, api: HttpApi) -> int:
    """HTTP status with which a kind is refused to be listed; 0 if it is not. Raises ApiError."""
    try:
        return 0 if await api.served(kind) else NOT_SERVED
    except Forbidden as error:
        return error.status


async def missing_kinds(
    controllers: Iterable[Controller], api: HttpApi, seconds: float = START_SECONDS
) -> frozenset[str]:
    """The optional kinds that cannot be watched; all of them if the API server does not answer."""
    wanted = frozenset(name for controller in controllers for name in controller.optional)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(ApiError):
                    return await _refused(wanted, api)
                await asyncio.sleep(1)
    return wanted


async def wait_served(
    watched: Sequence[KubeKind],
    watches: Watches,
    api: HttpApi,
    stop: asyncio.Event,
    every: float = RETRY_SECONDS,
) -> bool:
    """Wait until the API server serves all kinds, and report to `watches` those that it refuses.
    False if stopped."""
    logged = ""
    while not stop.is_set():
        unserved = 0
        try:
            for kind in watched:
                status = await refusal(kind, api)
                if status:
                    watches.failed(kind.name, status)
                    unserved += 1
                else:
                    watches.recovered(kind.name)
        except ApiError as error:
            trouble = f"waiting for the API server: {error}"
            if trouble != logged:
                log.warning(trouble)
                logged = trouble
        else:
            if not unserved:
                return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await stop.wait()
    return False


async def watch_for(
    absent: Collection[str], api: HttpApi, stop: asyncio.Event, every: float = CHECK_SECONDS
) -> None:
    """Set `stop` when an absent kind has appeared, so that the process restarts and watches it:
    CRDs of others are installed once in the life of a cluster."""
    while absent and not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await stop.wait()
                return
        with contextlib.suppress(ApiError):
            appeared = frozenset(absent) - await _refused(absent, api)
            if appeared:
                log.warning("restarting, since the cluster now has %s", ", ".join(sorted(appeared)))
                stop.set()


async def _refused(names: Iterable[str], api: HttpApi) -> frozenset[str]:
    return frozenset([name for name in names if await refusal(kinds.by_name(name), api)])
