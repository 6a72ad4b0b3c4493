"""The only use of kopf: it keeps one watch open for each kind.

What kopf does here:
- it resolves each kind's group, version and plural by API discovery, at the start;
- for each kind it lists once for a resourceVersion, watches from there, connects again from the
  last resourceVersion when the connection breaks or times out, and lists again after 410 Gone;
- it repeats refused or failed requests after our delays, and asks `login` for a session.

What it does not do, and where that is done instead:
- **Handlers of changes** (`on.create`, `on.update`, …) keep their progress and a copy of the spec
  in annotations of every object, children included: 2 writes where a status alone takes 1. An
  `on.event` handler writes nothing, but each object costs a queue and a task, and each event
  selection, contexts and loggers: 45 % of the operator's CPU. So events leave the stream before
  kopf reads them (event_stream.py) and go to the engine (runtime/engine.py), which has one queue
  and a bounded number of workers. (With kopf's own bound, `worker_limit`, an object without work
  keeps its slot for 5 s.)
- **Indexes** are superlinear at the start: 16 to 20 s for 2,000 objects. kube/cache.py keeps them.
- **Initial lists**: kopf says neither when a list is complete nor which objects have vanished since
  the last one. So the engine lists (runtime/resync.py), after the watch has started, so that no
  change falls between the two; kopf's own list is narrowed to no object (`NO_OBJECT`).
- **Peering** freezes replicas of equal priority; runtime/lease.py elects a leader.
- **Credentials** come from kube/connection.py, whose session renews them by itself.
- **Scanning** for CRDs that appear later is off: it needs the right to list and watch CRDs.
  discovery.py waits for kinds before kopf starts.
- **Signals, probes, Events**: process.py, runtime/server.py, kube/events.py.

So kopf needs no rights but `list` and `watch` of the kinds. Figures: kopf 1.45, docs/benchmarks.md
has those of the whole operator.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import kopf

from modelyard.handlers.event_stream import GONE, EventStream, ExpiredWatch
from modelyard.kube.api import Object
from modelyard.kube.connection import CONNECT_SECONDS, Connection
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.watches import Watches

log = logging.getLogger(__name__)

RETRIED = (401, 403, 429)
"""Statuses of 4xx after which kopf repeats a request. It ends the process for any other."""
NO_OBJECT = "metadata.name=-"
"""Field selector that no object matches: a name must begin with a letter or digit."""
WATCH_SECONDS = 300
"""The API server ends a watch after this long, so that a dead connection is noticed."""

OnEvent = Callable[[str, str, Object], None]
"""Called with the kind's name in the cache, the event's type (ADDED, MODIFIED, DELETED) and the
object."""


async def watch(
    kinds: Sequence[KubeKind],
    *,
    connection: Connection,
    watches: Watches,
    on_event: OnEvent,
    stop: asyncio.Event,
    restore_signals: Callable[[], None],
) -> None:
    """Watch `kinds` until `stop` is set; raises whatever ends kopf before.

    `restore_signals` is called once kopf has installed its own signal handlers, which would stop
    kopf alone.
    """
    session = functools.partial(WatchSession, connection, kinds, watches, on_event)
    tasks = await kopf.spawn_tasks(
        registry=_registry(kinds, connection.server, session),
        settings=_settings(kinds),
        standalone=True,
        clusterwide=True,
        stop_flag=stop,
    )
    restore_signals()
    await kopf.run_tasks(tasks, ignored=_AllTasks())


class _AllTasks(frozenset[Any]):
    """Contains everything: at its end, kopf would cancel all tasks of the event loop but the
    ignored ones, the engine's too."""

    def __contains__(self, _: object) -> bool:
        return True


def _registry(
    kinds: Sequence[KubeKind], server: str, session: Callable[[], WatchSession]
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.AiohttpSession:
        opened: Any = session()
        return kopf.AiohttpSession(server=server, aiohttp_session=opened)

    async def never_called(**_: Any) -> None:
        """kopf watches what has a handler; EventStream leaves it no events."""

    kopf.on.login(registry=registry)(login)
    for kind in kinds:
        # By group and version too: `deployments` also exists in `apps`.
        where = (kind.group, kind.version, kind.plural)
        kopf.on.event(*where, id=kind.plural, registry=registry)(never_called)
    return registry


def _settings(kinds: Sequence[KubeKind]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 10
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = Retries()
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 0.5
    settings.scanning.disabled = True
    settings.posting.enabled = False
    for kind in kinds:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings


class Retries:
    """Delays between attempts of a request, without end: an API server that is away comes back,
    and a watch that gives up would end the process."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 3)
        while True:
            yield 5


class WatchSession:
    """The part of aiohttp.ClientSession that kopf uses (its documented custom sessions)."""

    def __init__(
        self,
        connection: Connection,
        kinds: Sequence[KubeKind],
        watches: Watches,
        on_event: OnEvent,
    ) -> None:
        self._session = connection.session(limit=0)
        self._kinds = {kind.path(): kind for kind in kinds}
        self._watches = watches
        self._on_event = on_event

    @property
    def headers(self) -> Any:
        """Headers of every request."""
        return self._session.headers

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session.closed

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request of kopf's; report lists and watches of our kinds to `watches`."""
        parts = urlsplit(url)
        found = self._kinds.get(parts.path)
        if found is None:
            return await self._session.request(method, url, **options)
        kind = found.name
        query = dict(parse_qsl(parts.query))
        watching = query.get("watch") == "true"
        if not watching:
            query |= {"fieldSelector": NO_OBJECT, "limit": "1"}
        elif found.fields:
            query["fieldSelector"] = found.fields
        if "fieldSelector" in query:
            url = urlunsplit(parts._replace(query=urlencode(query)))
        try:
            response = await self._session.request(method, url, **options)
        except (aiohttp.ClientError, TimeoutError):
            self._watches.failed(kind, 0)
            raise
        if response.status >= 300:
            return self._refused(kind, response, watching=watching)
        if not watching:
            self._watches.listed(kind)
            return response
        self._watches.started(kind)
        return EventStream(
            response,
            kind,
            on_event=functools.partial(self._on_event, kind),
            on_data=functools.partial(self._watches.received, kind),
        )

    def _refused(self, kind: str, response: aiohttp.ClientResponse, *, watching: bool) -> Any:
        """What kopf gets for an HTTP error. Raises the error of a lost connection, after which kopf
        connects again, for a status that would end the process."""
        self._watches.failed(kind, response.status)
        if response.status == GONE and watching:
            return ExpiredWatch(response)
        if response.status < 500 and response.status not in RETRIED:
            response.release()
            raise aiohttp.ClientConnectionError(
                f"{kind} cannot be listed or watched: HTTP status {response.status}"
            )
        return response
