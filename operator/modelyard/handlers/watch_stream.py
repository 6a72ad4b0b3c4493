"""Takes events off a watch's stream before kopf turns each into tasks of its own.

kopf keeps what it is good at: which kinds to watch, connecting, logging in, and connecting anew
from the last resourceVersion. Its work on each event (a queue and a task an object, handler
selection, contexts, loggers) is for handlers that we do not have: 45 % of the operator's CPU.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import aiohttp
import orjson

from modelyard.kube.api import Object

log = logging.getLogger(__name__)

GONE = 410
"""Code of an ERROR event: the resourceVersion is too old, list again."""

TakeEvent = Callable[[str, Object], None]
"""Called with an event's type (ADDED, MODIFIED, DELETED) and its object."""


class TappedWatch:
    """A watch's response to which kopf listens, as much of aiohttp.ClientResponse as it uses.

    kopf gets only what moves its resourceVersion on (bookmarks), and the error that tells it to
    list again. Any other error ends the stream, so that kopf connects again; it would end the
    process for it.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        what: str,
        take: TakeEvent,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._response = response
        self._what = what
        """What is watched, for the log."""
        self._take = take
        self._heard = heard
        """Called when anything has arrived, also a bookmark."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def __aenter__(self) -> Self:
        await self._response.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._response.__aexit__(*error)

    @property
    def content(self) -> Self:
        """The response itself: kopf reads `response.content.iter_chunked`."""
        return self

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Lines for kopf, at most one for each chunk that arrives.

        Raises aiohttp.ClientPayloadError, which makes kopf connect again, for what is not JSON.
        """
        rest = b""
        async for data in self._response.content.iter_chunked(size):
            self._heard()
            *lines, rest = (rest + data).split(b"\n")
            version = ""
            for line in lines:
                if not line:
                    continue
                event = _parsed(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == GONE:
                        yield line + b"\n"
                    else:
                        log.warning("the watch of %s failed: %s", self._what, event["object"])
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._hand_over(event["type"], event["object"])
            if version:
                yield _bookmark(version)

    def _hand_over(self, kind_of_event: str, obj: Object) -> None:
        try:
            self._take(kind_of_event, obj)
        except Exception:
            # An object that cannot be taken in must not keep others from being noticed.
            log.exception("cannot take in %s %s", self._what, obj["metadata"].get("name"))


class ExpiredWatch:
    """A watch that was refused for its old resourceVersion (HTTP 410), told as the API server tells
    it in mid-stream, so that kopf lists again."""

    status = 200

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    @property
    def content(self) -> Self:
        """The response itself: kopf reads `response.content.iter_chunked`."""
        return self

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """The error event."""
        yield orjson.dumps({"type": "ERROR", "object": {"code": GONE}}) + b"\n"


def _parsed(line: bytes) -> Object:
    try:
        event: Object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise aiohttp.ClientPayloadError(f"a watch event is not JSON: {error}") from None
    return event


def _bookmark(version: str) -> bytes:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}
    return orjson.dumps(bookmark) + b"\n"
