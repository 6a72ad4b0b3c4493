"""The harness's own client: plain requests, every write counted, and watches with timestamps."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson

from modelyard.kube.connection import Connection
from modelyard.kube.kinds import KubeKind

CREATORS = 50
"""Requests that the harness has in flight when it creates objects or plays pods."""
WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
SPACE = "bench"
"""Namespace of everything that is measured."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MERGE = {"Content-Type": "application/merge-patch+json"}

Manifest = dict[str, Any]
Item = TypeVar("Item")


class Refused(Exception):
    """The API server refused what the harness asked for."""


class Api:
    """The API server as the harness sees it."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        self._session = connection.session(limit=2 * CREATORS)
        self.written: Counter[str] = Counter()
        """The harness's own writes, to be taken off the server's count; see `write_name`."""

    @classmethod
    async def open(cls, kubeconfig: Path) -> Api:
        """As the administrator of a kubeconfig."""
        return cls(await Connection.open(str(kubeconfig)))

    async def close(self) -> None:
        await self._session.close()

    async def create(self, kind: KubeKind, body: Manifest, namespace: str = SPACE) -> Manifest:
        """Creates an object. Raises Refused."""
        self.written[write_name("POST", kind.plural)] += 1
        return await self._call("POST", kind.path(namespace), body)

    async def token(self, account: str, seconds: int) -> str:
        """A token of a service account of SPACE, for so long. Raises Refused."""
        self.written[write_name("POST", "serviceaccounts", "token")] += 1
        path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/{account}/token"
        made = await self._call("POST", path, {"spec": {"expirationSeconds": seconds}})
        return str(made["status"]["token"])

    async def patch(
        self, kind: KubeKind, name: str, body: Manifest, subresource: str = "status"
    ) -> Manifest:
        """Merges into an object. Raises Refused."""
        self.written[write_name("PATCH", kind.plural, subresource)] += 1
        return await self._call("PATCH", kind.path(SPACE, name, subresource), body, MERGE)

    async def get(self, path: str) -> Manifest:
        """Whatever is at a path. Raises Refused."""
        return await self._call("GET", path)

    async def items(self, kind: KubeKind, selector: str = "") -> list[Manifest]:
        """All objects of a kind in SPACE, those with the labels of a selector."""
        query = f"?labelSelector={selector}" if selector else ""
        found: list[Manifest] = (await self.get(kind.path(SPACE) + query))["items"]
        return found

    async def server_writes(self) -> Counter[str]:
        """Writes that the API server has counted, whatever came of them, the harness's own and
        Leases included."""
        async with self._session.get(f"{self._server}/metrics") as answer:
            return parse_writes((await answer.text()).splitlines())

    async def controllers_writes(self) -> Counter[str]:
        """Writes of everybody but the harness, Leases left out."""
        counted = await self.server_writes()
        counted.subtract(self.written)
        return Counter({k: n for k, n in counted.items() if n and not k.endswith(" leases")})

    @asynccontextmanager
    async def watching(
        self, kind: KubeKind, seen: Callable[[Manifest, float], None], *, metadata_only: bool
    ) -> AsyncIterator[None]:
        """Calls `seen(object, time.perf_counter())` for every object that is there, comes or
        changes, while the block runs. Raises Refused when the block ends if the watch broke."""
        accept = METADATA_ONLY if metadata_only else "application/json"
        task = asyncio.create_task(self._watch(kind, accept, seen))
        try:
            yield
            if task.done():
                task.result()
                raise Refused(f"the watch of {kind.plural} ended early")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(
        self, kind: KubeKind, accept: str, seen: Callable[[Manifest, float], None]
    ) -> None:
        url = f"{self._server}{kind.path(SPACE)}?watch=1&timeoutSeconds=3600"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, headers={"Accept": accept}, timeout=timeout) as answer:
            if answer.status >= 400:
                raise Refused(await answer.text())
            rest = b""
            async for chunk in answer.content.iter_any():
                now = time.perf_counter()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise Refused(str(event["object"]))
                    if event["type"] in ("ADDED", "MODIFIED"):
                        seen(event["object"], now)

    async def _call(
        self, method: str, path: str, body: Manifest | None = None, headers: Any = None
    ) -> Manifest:
        data = None if body is None else orjson.dumps(body)
        if data is not None and headers is None:
            headers = {"Content-Type": "application/json"}
        request = self._session.request(method, f"{self._server}{path}", data=data, headers=headers)
        async with request as answer:
            raw = await answer.read()
            if answer.status >= 400:
                raise Refused(f"{method} {path}: {answer.status} {raw.decode()[:500]}")
            made: Manifest = orjson.loads(raw)
            return made


def write_name(verb: str, plural: str, subresource: str = "") -> str:
    """`PATCH jobs/status`: how writes are counted."""
    return f"{verb} {plural}/{subresource}" if subresource else f"{verb} {plural}"


def parse_writes(metrics: Iterable[str]) -> Counter[str]:
    """Mutating requests by name from lines of apiserver_request_total."""
    total: Counter[str] = Counter()
    for line in metrics:
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["verb"] in WRITES and not labels.get("dry_run"):
                name = write_name(labels["verb"], labels["resource"], labels["subresource"])
                total[name] += int(float(line.rsplit(" ", 1)[1]))
    return total


async def each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[object]], workers: int = CREATORS
) -> None:
    """Does the work for each item, so many at a time; the first error ends it."""
    pending = iter(list(items))

    async def worker() -> None:
        for item in pending:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
