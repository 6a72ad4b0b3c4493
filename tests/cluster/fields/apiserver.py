"""The API server over raw HTTP, and a live view: the fastest way to see hundreds of objects."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from ...kinds import PLURALS

Object = dict[str, Any]

GROUP = "/apis/modelyard.dev/v1alpha1"
WATCHED = {
    **{kind: f"{GROUP}/{plural}" for kind, plural in PLURALS.items()},
    "Job": "/apis/batch/v1/jobs",
    "apps/Deployment": "/apis/apps/v1/deployments",
    "apps/DaemonSet": "/apis/apps/v1/daemonsets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "Service": "/api/v1/services",
    "Pod": "/api/v1/pods",
}
STRICT = {"fieldValidation": "Strict"}
DRY = {**STRICT, "dryRun": "All"}
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


def path_of(kind: str, space: str, name: str = "", subresource: str = "") -> str:
    """URL path of one of our kinds."""
    parts = [GROUP, "namespaces", space, PLURALS[kind], name, subresource]
    return "/".join(part for part in parts if part)


class Server:
    """An administrator's connection."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._url = cluster["server"]
        files = {}
        for name, text in (
            ("ca", cluster["certificate-authority-data"]),
            ("cert", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            files[name] = folder / name
            files[name].write_bytes(base64.b64decode(text))
        self._tls = ssl.create_default_context(cafile=files["ca"])
        self._tls.load_cert_chain(files["cert"], files["key"])
        self._gate = asyncio.Semaphore(16)

    async def __aenter__(self) -> Server:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._http = aiohttp.ClientSession(
            self._url, connector=connector, timeout=aiohttp.ClientTimeout(total=60)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> tuple[int, Object]:
        """(HTTP status, answer)."""
        data = None if body is None else orjson.dumps(body)
        async with (
            self._gate,
            self._http.request(
                method, path, data=data, params=query, headers={"Content-Type": content}
            ) as answer,
        ):
            text = await answer.read()
            if answer.content_type != "application/json":
                return answer.status, {"message": text.decode()}
            return answer.status, orjson.loads(text)

    async def must(self, method: str, path: str, body: Any = None, **options: Any) -> Object:
        """The answer to a request that may not fail."""
        status, answer = await self.ask(method, path, body, **options)
        assert status < 400, f"{method} {path}: {answer.get('message', answer)}"
        return answer

    async def set_spec(self, kind: str, space: str, name: str, spec: Object) -> Object:
        """Replace the spec of one of our objects, as the whole that a user applies."""
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        return await self.must(
            "PATCH", path_of(kind, space, name), patch, query=STRICT, content=JSON_PATCH
        )

    async def merge(self, path: str, patch: Object) -> Object:
        """Merge a patch into an object, or into its status."""
        return await self.must("PATCH", path, patch, content=MERGE_PATCH)

    def stream(self, path: str, version: str) -> Any:
        """An open watch."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
        # A watch may be silent for as long as nothing happens.
        return self._http.get(path, params=query, timeout=aiohttp.ClientTimeout(total=None))


class View:
    """All objects of the kinds in WATCHED, kept current by watches."""

    def __init__(self, server: Server, on_change: Callable[[str, Object], None]) -> None:
        self._server = server
        self._on_change = on_change
        self.objects: dict[str, dict[str, Object]] = {kind: {} for kind in WATCHED}
        """By kind and UID."""
        self.changed = time.monotonic()
        """When anything last changed."""

    async def follow(self, kind: str) -> None:
        """Keep a kind current until cancelled. The API server ends the watch of a reader that a
        busy machine makes too slow: then all is listed anew."""
        path = WATCHED[kind]
        while True:
            listed = await self._server.must("GET", path)
            present = {item["metadata"]["uid"] for item in listed["items"]}
            for uid in self.objects[kind].keys() - present:
                del self.objects[kind][uid]
            for item in listed["items"]:
                self._take(kind, "ADDED", item)
            await self._watch(kind, path, listed["metadata"]["resourceVersion"])

    async def _watch(self, kind: str, path: str, version: str) -> None:
        """Follow a watch until the API server ends it."""
        with contextlib.suppress(aiohttp.ClientError):
            async with self._server.stream(path, version) as answer:
                if answer.status != 200:
                    return
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            return
                        self._take(kind, event["type"], event["object"])

    def _take(self, kind: str, event: str, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        self.changed = time.monotonic()
        if event == "DELETED":
            self.objects[kind].pop(uid, None)
            return
        obj["metadata"].pop("managedFields", None)
        self.objects[kind][uid] = obj
        self._on_change(kind, obj)

    def named(self, kind: str, space: str, name: str) -> Object | None:
        """An object by its name."""
        for obj in self.objects[kind].values():
            metadata = obj["metadata"]
            if (metadata["name"], metadata.get("namespace")) == (name, space):
                return obj
        return None

    def of_owner(self, kind: str, uid: str) -> list[Object]:
        """Children of one of our objects that are not going away."""
        return [
            obj
            for obj in self.objects[kind].values()
            if (obj["metadata"].get("labels") or {}).get("modelyard.dev/owner-uid") == uid
            and not obj["metadata"].get("deletionTimestamp")
        ]
