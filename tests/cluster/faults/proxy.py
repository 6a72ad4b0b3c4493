"""A proxy between operator and API server; a fault may change, delay or drop what passes.

Plain HTTP on a loopback port towards the operator, TLS with the administrator's certificate
towards the API server. It names the operator's writes (`writes.py`): all but those of its Lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from ..admin import Access
from .resources import Place, plain, subject
from .writes import STATUS, WriteNames

MUTATING = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "authorization"}
SENT = ("Content-Type", "Retry-After")
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Call:
    """A write of the operator."""

    number: int
    """Position among the writes of a run, from 1."""
    name: str
    """The same in every run (`writes.py`); no other write of a run has it."""
    verb: str
    kind: str
    target: str
    """Verb, kind and object: what a retry has in common with the write before it."""

    def __str__(self) -> str:
        return self.name


@dataclass
class HttpAnswer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def refusal(cls, status: int, reason: str, message: str, **headers: str) -> HttpAnswer:
        """A metav1.Status."""
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": status,
            "reason": reason,
            "message": message,
        }
        return cls(status, orjson.dumps(body), {"Content-Type": "application/json", **headers})


class Cut(Exception):
    """The connection to the operator ends here, without an answer."""


class Exchange:
    """One request of the operator that is not a watch."""

    def __init__(self, proxy: Proxy, request: web.Request, body: bytes, call: Call | None) -> None:
        self._proxy = proxy
        self._request = request
        self._body = body
        self.method = request.method
        self.path = request.path
        self.query = dict(request.query)
        self.call = call
        """The write, or None for a read and for whatever concerns the Lease."""

    @property
    def is_list(self) -> bool:
        """Whether it reads a collection."""
        return self.method == "GET" and not Place(self.path).name

    async def forward(self) -> HttpAnswer:
        """What the API server answers."""
        return await self._proxy.ask(
            self.method, self.path, self.query, self._request.headers, self._body
        )

    async def deliver(self, answer: HttpAnswer) -> web.StreamResponse:
        """Send an answer to the operator, to the last byte."""
        headers = {k: v for k, v in answer.headers.items() if k in SENT}
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = len(answer.body)
        await response.prepare(self._request)
        await response.write(answer.body)
        await response.write_eof()
        return response


class Fault:
    """What may go wrong; this one forwards everything. All methods run in the proxy's loop."""

    fired = False
    """Whether it has struck."""

    async def exchange(self, exchange: Exchange) -> web.StreamResponse:
        """Deal with a request: forward it and deliver the answer, or not. Raises Cut."""
        return await exchange.deliver(await exchange.forward())

    async def events(self, stream: Stream, event: dict[str, Any]) -> bool:
        """Whether a watch event goes through; it goes when this returns. Raises Cut."""
        return True


class Stream:
    """A watch of the operator."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.upstream: aiohttp.ClientResponse | None = None
        self.last_words: bytes = b""

    def end(self, last_words: bytes = b"") -> None:
        """Close it, perhaps after a last event."""
        self.last_words = last_words
        if self.upstream is not None:
            self.upstream.close()


class Proxy:
    """See the module. Runs in an event loop's thread; other threads may read its figures."""

    def __init__(self, where: Access) -> None:
        self._where = where
        self.url = ""
        self.streams: set[Stream] = set()
        self.reset()

    def reset(self, fault: Fault | None = None, version: int = 0) -> None:
        """A new run begins, with this fault, at this resourceVersion."""
        self.fault = fault or Fault()
        self.calls: list[Call] = []
        self._names = WriteNames()
        self.versions: list[int] = []
        """The newest resourceVersion that any answer had, at each call."""
        self._newest = version
        self._under_way: set[object] = set()
        self.touched = time.monotonic()
        """When anything but the Lease passed last."""
        self._cut = False

    @property
    def inflight(self) -> int:
        """Requests that have no answer yet."""
        return len(self._under_way)

    def cut(self) -> None:
        """Stop forwarding, until `restore`."""
        self._cut = True

    def restore(self) -> None:
        """Forward again, for a new process."""
        self._cut = False

    async def start(self) -> None:
        """Listen; `url` is where."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._where.tls, limit=0),
            read_bufsize=2**22,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()
        await self._session.close()

    async def ask(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> HttpAnswer:
        """The API server's answer to a request."""
        sent = {k: v for k, v in headers.items() if k.lower() not in HOP_BY_HOP}
        url = self._where.url + path
        async with self._session.request(
            method, url, params=query, headers=sent, data=body or None
        ) as got:
            answer = HttpAnswer(got.status, await got.read(), dict(got.headers))
        if method != "GET" and answer.status < 300:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                metadata = orjson.loads(answer.body)["metadata"]
                self._newest = max(self._newest, int(metadata["resourceVersion"]))
        return answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._cut:
            await asyncio.Event().wait()
        if request.query.get("watch") in ("true", "1"):
            return await self._watch(request)
        body = await request.read()
        place = Place(request.path)
        if place.kind == "leases":
            return await self._pass(Exchange(self, request, body, None))
        self.touched = time.monotonic()
        call = self._record(request, place, body) if request.method in MUTATING else None
        # Of this run: one that is left over from the run before does not count in the next.
        under_way, mine = self._under_way, object()
        under_way.add(mine)
        try:
            return await self._pass(Exchange(self, request, body, call))
        finally:
            under_way.discard(mine)
            self.touched = time.monotonic()

    async def _pass(self, exchange: Exchange) -> web.StreamResponse:
        try:
            return await self.fault.exchange(exchange)
        except Cut:
            return _abort(exchange._request)

    def _record(self, request: web.Request, place: Place, body: bytes) -> Call:
        verb = MUTATING[request.method]
        if request.headers.get("Content-Type") == APPLY:
            verb = "apply"
        name = plain(place.kind, place.name)
        if request.method == "POST":
            manifest = orjson.loads(body)
            event = place.kind == "Event"
            name = subject(manifest) if event else plain(place.kind, manifest["metadata"]["name"])
        if place.subresource == STATUS and verb == "patch":
            target = f"{STATUS} {place.kind} {name}"
            unique = self._names.status(target, orjson.loads(body).get("status") or {})
        else:
            of = f" {place.subresource} of" if place.subresource else ""
            target = f"{verb}{of} {place.kind} {name}"
            unique = self._names.write(target)
        call = Call(len(self.calls) + 1, unique, verb, place.kind, target)
        self.calls.append(call)
        self.versions.append(self._newest)
        return call

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        stream = Stream(Place(request.path).kind)
        sent = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        url = self._where.url + request.path
        self.streams.add(stream)
        try:
            async with self._session.get(url, params=request.query, headers=sent) as upstream:
                stream.upstream = upstream
                response = web.StreamResponse(
                    status=upstream.status,
                    headers={k: v for k, v in upstream.headers.items() if k in SENT},
                )
                await response.prepare(request)
                async for line in self._lines(upstream):
                    if await self.fault.events(stream, orjson.loads(line)):
                        self.touched = time.monotonic()
                        await response.write(line)
                if stream.last_words:
                    await response.write(stream.last_words)
                await response.write_eof()
                return response
        except (Cut, ConnectionError):
            return _abort(request)
        finally:
            self.streams.discard(stream)

    @staticmethod
    async def _lines(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with contextlib.suppress(aiohttp.ClientError):  # Closed by Stream.end.
            async for line in upstream.content:
                yield line


def _abort(request: web.Request) -> web.StreamResponse:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
