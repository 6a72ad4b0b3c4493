"""The HTTP session that kopf watches through (kopf's documented custom sessions).

kopf lists a kind before it watches it, and hands every listed object to a task of its own, but it
says neither when a list is complete nor which objects have vanished since the last one. So the
engine lists by itself (runtime/resync.py), and kopf's own list is narrowed to nothing: it only
gives the resourceVersion that the watch starts from. The engine lists after that watch has
started, so no change falls between the two. The events of a watch go to the engine: see
watch_stream.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp

from modelyard.handlers.watch_stream import GONE, ExpiredWatch, TappedWatch
from modelyard.kube.api import Object
from modelyard.kube.connection import Connection
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.watches import Watches

NOTHING = "metadata.name=-"
"""Field selector that no object matches: a name must begin with a letter or digit."""

NOT_SERVED = 404
"""Status of a kind without a CRD."""

TRIED_AGAIN = (401, 403, 429)
"""Statuses of 4xx after which kopf tries again. It would end the process for any other, but takes
a lost connection for what it is."""

OnEvent = Callable[[str, str, Object], None]
"""Called with the kind's name in the cache, the event's type and the object."""


class WatchSession:
    """As much of aiohttp.ClientSession as kopf uses."""

    def __init__(
        self,
        connection: Connection,
        kinds: Iterable[KubeKind],
        watches: Watches,
        on_event: OnEvent,
    ) -> None:
        self._session = connection.session(limit=0)
        self._kinds = {kind.path(): kind.name for kind in kinds}
        self._watches = watches
        self._on_event = on_event

    @property
    def headers(self) -> Any:
        """The underlying session's headers."""
        return self._session.headers

    @property
    def closed(self) -> bool:
        """Whether the underlying session is closed."""
        return self._session.closed

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """A request of kopf's; lists and watches of our kinds are told to `watches`."""
        parts = urlsplit(url)
        kind = self._kinds.get(parts.path)
        if kind is None:
            return await self._session.request(method, url, **options)
        query = dict(parse_qsl(parts.query))
        watching = query.get("watch") == "true"
        if not watching:
            query |= {"fieldSelector": NOTHING, "limit": "1"}
            url = urlunsplit(parts._replace(query=urlencode(query)))
        try:
            response = await self._session.request(method, url, **options)
        except (aiohttp.ClientError, TimeoutError):
            self._watches.failed(kind, 0)
            raise
        if response.status >= 300:
            self._watches.failed(kind, response.status)
            if response.status == GONE and watching:
                return ExpiredWatch(response)
            if response.status < 500 and response.status not in TRIED_AGAIN:
                response.release()
                raise aiohttp.ClientConnectionError(
                    f"{kind} cannot be listed or watched: HTTP status {response.status}"
                )
            return response
        if not watching:
            self._watches.listed(kind)
            return response
        self._watches.started(kind)
        return TappedWatch(
            response,
            kind,
            take=functools.partial(self._on_event, kind),
            heard=functools.partial(self._watches.heard, kind),
        )
