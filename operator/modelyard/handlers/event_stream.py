"""The stream of a watch: its events leave it here, and kopf gets what it needs to go on.

Why they do not reach kopf: kopf_adapter.py, which puts these responses into the place of aiohttp's.
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
"""HTTP status, and code of an ERROR event: the resourceVersion is too old, list again."""


class EventStream:
    """The response of a watch, as much of aiohttp.ClientResponse as kopf uses.

    Events go to `on_event`. kopf gets only what moves its resourceVersion on (bookmarks), and the
    error that makes it list again. Any other error ends the stream, so that kopf connects again; it
    would end the process.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        kind: str,
        on_event: Callable[[str, Object], None],
        on_data: Callable[[], None] = lambda: None,
    ) -> None:
        self._response = response
        self._kind = kind
        self._on_event = on_event
        self._on_data = on_data
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
        """The stream of lines: this object."""
        return self

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Lines for kopf, at most one for each chunk that arrives.

        Raises aiohttp.ClientPayloadError, which makes kopf connect again, for what is not JSON.
        """
        rest = b""
        async for data in self._response.content.iter_chunked(size):
            self._on_data()
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
                        log.warning("the watch of %s failed: %s", self._kind, event["object"])
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._deliver(event["type"], event["object"])
            if version:
                yield _bookmark(version)

    def _deliver(self, event_type: str, obj: Object) -> None:
        try:
            self._on_event(event_type, obj)
        except Exception:
            # A single object that causes an error must not keep others from being noticed.
            log.exception("cannot process %s %s", self._kind, obj["metadata"].get("name"))


class ExpiredWatch:
    """A watch that was refused because of its old resourceVersion (HTTP 410), in the form that the
    API server uses in mid-stream, so that kopf lists again."""

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
        """The stream of lines: this object."""
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
