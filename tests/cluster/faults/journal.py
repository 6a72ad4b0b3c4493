"""What really happened: the API server's own watches, past the proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import aiohttp
import orjson

from ..admin import Access
from .resources import CLUSTERWIDE, COLLECTIONS

Object = dict[str, Any]
FOLLOWED = {**COLLECTIONS, **CLUSTERWIDE}
LONG = 36_000
"""Seconds that the API server keeps our watches open."""


class Entry(NamedTuple):
    """One change; sorted, they are in the order in which etcd made them."""

    version: int
    type: str
    """ADDED, MODIFIED or DELETED."""
    kind: str
    obj: Object


class Journal:
    """Follows all kinds of COLLECTIONS in all namespaces, and CLUSTERWIDE, from when it is started.

    Runs in an event loop's thread; other threads may read.
    """

    def __init__(self, where: Access) -> None:
        self._where = where
        self._live: dict[str, dict[str, Object]] = {kind: {} for kind in FOLLOWED}
        self._entries: dict[str, list[Entry]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.error: BaseException | None = None
        self._touched: dict[str, float] = {}

    async def start(self) -> None:
        """Watch everything from now on."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._where.tls, limit=0),
            read_bufsize=2**22,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        for kind, path in FOLLOWED.items():
            async with self._session.get(self._where.url + path) as answer:
                listed = orjson.loads(await answer.read())
            for item in listed["items"]:
                self._live[kind][item["metadata"]["uid"]] = item
            version = listed["metadata"]["resourceVersion"]
            task = asyncio.create_task(self._follow(kind, path, version), name=f"journal {kind}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End all watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def live(self, kind: str, namespace: str) -> list[Object]:
        """Objects that exist, oldest first; the namespace of what has none is empty."""
        return [
            o
            for o in list(self._live[kind].values())
            if o["metadata"].get("namespace", "") == namespace
        ]

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object that exists, or None."""
        for obj in self.live(kind, namespace):
            if obj["metadata"]["name"] == name:
                return obj
        return None

    def history(self, namespace: str) -> list[Entry]:
        """All changes in a namespace, in order."""
        return sorted(self._entries.get(namespace, ()), key=lambda entry: entry.version)

    def left(self, namespace: str, kinds: Iterable[str]) -> list[str]:
        """Objects of these kinds that still exist, as `Kind name`."""
        return [
            f"{kind} {obj['metadata']['name']}"
            for kind in kinds
            for obj in self.live(kind, namespace)
        ]

    def touched(self, namespace: str) -> float:
        """When anything changed last in a namespace, or among what has none."""
        return max(self._touched.get(namespace, 0.0), self._touched.get("", 0.0))

    def forget(self, namespace: str) -> None:
        """Drop a namespace's history."""
        self._entries.pop(namespace, None)
        self._touched.pop(namespace, None)

    async def _follow(self, kind: str, path: str, version: str) -> None:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(LONG)}
        async with self._session.get(self._where.url + path, params=query) as stream:
            async for line in stream.content:
                event = orjson.loads(line)
                obj = event["object"]
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of {kind} failed: {obj}")
                self._take(kind, event["type"], obj)

    def _take(self, kind: str, change: str, obj: Object) -> None:
        metadata = obj["metadata"]
        metadata.pop("managedFields", None)
        namespace, uid = metadata.get("namespace", ""), metadata["uid"]
        if change == "DELETED":
            self._live[kind].pop(uid, None)
        else:
            self._live[kind][uid] = obj
        entry = Entry(int(metadata["resourceVersion"]), change, kind, obj)
        self._entries.setdefault(namespace, []).append(entry)
        self._touched[namespace] = time.monotonic()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.error = task.exception() or RuntimeError(f"{task.get_name()} ended")
