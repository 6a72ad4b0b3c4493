"""The HTTP session that kopf watches through (kopf's documented custom sessions).

kopf lists a kind before it watches it, and hands every listed object to a task of its own, but it
says neither when a list is complete nor which objects have vanished since the last one. So the
engine lists by itself (runtime/resync.py), and kopf's own list is narrowed to nothing: it only
gives the resourceVersion that the watch starts from. The engine lists after that watch has
started, so no change falls between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp

from modelyard.kube.connection import Connection
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.watches import Watches

NOTHING = "metadata.name=-"
"""Field selector that no object matches: a name must begin with a letter or digit."""


class WatchSession:
    """As much of aiohttp.ClientSession as kopf uses."""

    def __init__(self, connection: Connection, kinds: Iterable[KubeKind], watches: Watches) -> None:
        self._session = connection.session(limit=0)
        self._kinds = {kind.path(): kind.name for kind in kinds}
        self._watches = watches

    @property
    def headers(self) -> Any:
        return self._session.headers

    @property
    def closed(self) -> bool:
        return self._session.closed

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
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
        response = await self._session.request(method, url, **options)
        if response.status < 300:
            if watching:
                self._watches.started(kind)
            else:
                self._watches.listed(kind)
        return response
