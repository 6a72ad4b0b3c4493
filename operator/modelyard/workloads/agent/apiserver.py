"""The three calls that the agent makes to the Kubernetes API server, with plain dictionaries.

A full client would add 11 MB of memory to every serving pod and edge node for these.

Protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from modelyard.api.base import API_VERSION

Object = dict[str, Any]

_TOKEN_SECONDS = 60.0
"""The kubelet replaces a projected token well before it expires."""
_GONE = 410
_MAX_LINE = 4 * 1024 * 1024


class ApiError(Exception):
    """The API server refused a request or could not be reached; the message has the cause."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; None if nothing answered."""


class ApiServer:
    """Objects of our group in one namespace. Use it as an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        namespace: str,
        credentials: Path,
        *,
        on_time: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`credentials` is a folder with `token` and `ca.crt`; `on_time` is called with the
        server's time, in seconds since 1970, at each answer."""
        self._base = f"{url}/apis/{API_VERSION}/namespaces/{namespace}"
        self._url = url
        self._credentials = credentials
        self._on_time = on_time
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._token_read = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, plural: str, name: str) -> Object | None:
        """An object; None if there is none. Raises ApiError."""
        try:
            return await self._json("GET", f"{plural}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list_one(self, plural: str, name: str) -> tuple[Object | None, str]:
        """An object, None if there is none, and the resource version to watch from. Raises
        ApiError."""
        found = await self._json("GET", plural, params={"fieldSelector": f"metadata.name={name}"})
        items = found.get("items") or []
        return (items[0] if items else None), str(found["metadata"]["resourceVersion"])

    async def watch_one(
        self, plural: str, name: str, version: str, seconds: int
    ) -> AsyncIterator[Object | None]:
        """Each later state of an object, None when it is deleted, for about so many seconds.

        Ends early when the server wants the object to be listed again. Raises ApiError.
        """
        params = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=seconds + 15, sock_connect=10)
        try:
            async with await self._request(
                "GET", plural, params=params, timeout=timeout
            ) as response:
                while line := await response.content.readline():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"].get("code")
                        if status == _GONE:
                            return
                        raise ApiError(str(event["object"].get("message")), status)
                    yield None if event["type"] == "DELETED" else event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    async def patch_status(self, plural: str, name: str, uid: str, patch: Object) -> Object:
        """Merges into the status of an object, not of one that replaced it (a conflict, 409), and
        returns the object. Raises ApiError."""
        return await self._json(
            "PATCH",
            f"{plural}/{name}/status",
            params={"fieldManager": "modelyard-agent"},
            data=json.dumps({"metadata": {"uid": uid}, "status": patch}),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    async def _json(self, method: str, path: str, **options: Any) -> Object:
        timeout = aiohttp.ClientTimeout(total=20, sock_connect=5)
        try:
            async with await self._request(method, path, timeout=timeout, **options) as response:
                found: Object = await response.json()
                return found
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    async def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> aiohttp.ClientResponse:
        session = self._open()
        headers = {"Authorization": f"Bearer {await self._bearer()}", **(headers or {})}
        response = await session.request(method, f"{self._base}/{path}", headers=headers, **options)
        if (at := _date(response.headers.get("Date", ""))) is not None:
            self._on_time(at)
        if response.status < 400:
            return response
        async with response:
            raise ApiError(_message(await response.text(), response.status), response.status)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Not before the first call: the folder may be filled late.
            context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
            connector = aiohttp.TCPConnector(ssl=context, socket_factory=_socket)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=_MAX_LINE)
        return self._session

    async def _bearer(self) -> str:
        if time.monotonic() - self._token_read > _TOKEN_SECONDS:
            path = self._credentials / "token"
            self._token = (await asyncio.to_thread(path.read_text)).strip()
            self._token_read = time.monotonic()
        return self._token

    def _unreachable(self, error: Exception) -> ApiError:
        text = str(error) or type(error).__name__
        return ApiError(f"the API server {self._url} cannot be reached: {text}")


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within a minute that the network behind a quiet watch is gone."""
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _date(header: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None if it is none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def _message(text: str, status: int) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the API server answered {status}: {text[:200]}"
