"""Empties the namespace between samples, in etcd itself.

Through the API server the thousands of deletes of one sample would take longer than the sample,
and finalizers would need the controllers that are stopped by then. The API server's caches follow
etcd's watch, so they see these deletes as any others. The history can be compacted too: then each
sample starts with a database of the same size.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable
from typing import Any

import aiohttp

from modelyard_local.cluster import ControlPlane, components
from modelyard_local.cluster.components import LOOPBACK

from .api import SPACE


class Etcd:
    """etcd's JSON gateway (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/)."""

    def __init__(self, plane: ControlPlane) -> None:
        plan = plane.plan({})
        signed = components.credentials(plan)
        self._url = f"https://{LOOPBACK}:{plan.ports['etcd']}/v3/kv"
        self._ssl = ssl.create_default_context(cafile=signed.etcd_authority.pair.certificate)
        self._ssl.load_cert_chain(signed.etcd_client.certificate, signed.etcd_client.key)

    async def empty(self, resources: Iterable[str]) -> int:
        """Deletes all objects of SPACE: `jobs`, or `group/plural` for custom resources; returns
        the revision after that."""
        revision = "0"
        async with aiohttp.ClientSession() as session:
            for resource in resources:
                prefix = f"/registry/{resource}/{SPACE}/".encode()
                # The end of a range of keys with a prefix: its last byte plus one.
                end = prefix[:-1] + bytes([prefix[-1] + 1])
                answer = await self._call(
                    session, "deleterange", key=_text(prefix), range_end=_text(end)
                )
                revision = answer["header"]["revision"]
        return int(revision)

    async def compact(self, revision: int) -> None:
        """Drops the history up to a revision, which all watchers must have seen: an API server
        that has not would have to fill its cache anew."""
        async with aiohttp.ClientSession() as session:
            await self._call(session, "compaction", revision=str(revision))

    async def _call(self, session: aiohttp.ClientSession, what: str, **body: str) -> Any:
        async with session.post(f"{self._url}/{what}", json=body, ssl=self._ssl) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
