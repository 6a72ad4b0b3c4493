"""Whose token it is, and which server's captures it may store.

The API server answers both: a TokenReview for our audience names service account and pod, and is
refused once the pod is gone; the ModelServer names the pod that may report for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from modelyard.api.base import API_VERSION
from modelyard.contract.capture import AUDIENCE

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ACCOUNT_ENV = "MODELYARD_SERVICE_ACCOUNT"
"""Directory with token and CA, in place of the pod's; for tests and by hand."""
CACHE_SECONDS = 60.0
"""How long an answer about a token holds: a deleted pod may store for so long."""
_CACHED = 20_000
_CONCURRENT = 16
"""TokenReviews at a time: whoever sends made-up tokens must not load the API server."""
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_TIMEOUT = aiohttp.ClientTimeout(total=15)


class Refused(Exception):
    """The request is not granted; the message may be told to the caller."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Pod:
    """Whose token it is."""

    namespace: str
    name: str
    uid: str


class Access:
    """Asks the API server. Use it as an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        account: Path,
        *,
        namespaces: frozenset[str],
        agent_account: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`account` is a directory with `token` and `ca.crt`."""
        self._url = url
        self._account = account
        self._namespaces = namespaces
        self._agent_account = agent_account
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Pod]] = OrderedDict()
        self._turn = asyncio.Semaphore(_CONCURRENT)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_environment(cls, namespaces: frozenset[str], agent_account: str) -> Self:
        """Of the cluster that this pod runs in. Raises KeyError outside of one."""
        host = os.environ["KUBERNETES_SERVICE_HOST"]
        host = f"[{host}]" if ":" in host else host
        port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
        account = Path(os.environ.get(ACCOUNT_ENV) or SERVICE_ACCOUNT)
        return cls(
            f"https://{host}:{port}", account, namespaces=namespaces, agent_account=agent_account
        )

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        connector = aiohttp.TCPConnector(ssl=context, limit=2 * _CONCURRENT)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def pod(self, token: str) -> Pod:
        """The pod that a token belongs to. Raises Refused."""
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        found = self._known.get(key)
        if found is not None and now - found[0] < CACHE_SECONDS:
            return found[1]
        pod = await self._review(token)
        self._known[key] = (now, pod)
        self._known.move_to_end(key)
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return pod

    async def deployment(self, pod: Pod, server: str) -> str:
        """The Modelyard Deployment of a ModelServer that belongs to the pod and is to capture.
        Raises Refused."""
        path = f"/apis/{API_VERSION}/namespaces/{pod.namespace}/modelservers/{quote(server)}"
        status, found = await self._ask("GET", path)
        if status not in (200, 404):
            raise Refused("the API server did not say whose server it is: try again", 503)
        spec = found.get("spec") or {}
        if status == 404 or spec.get("podName") != pod.name:
            raise Refused(f"ModelServer {server} does not belong to pod {pod.name}")
        if not (spec.get("monitoring") or {}).get("capture"):
            raise Refused(f"ModelServer {server} is not to capture images")
        return str(spec["deployment"])

    async def _review(self, token: str) -> Pod:
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        async with self._turn:
            status, found = await self._ask(
                "POST", "/apis/authentication.k8s.io/v1/tokenreviews", wanted
            )
        if status not in (200, 201):
            raise Refused("the API server did not say whose token it is: try again", 503)
        said = found.get("status") or {}
        if said.get("authenticated") is not True or AUDIENCE not in (said.get("audiences") or ()):
            raise Refused("the token is not valid for this service", 401)
        user = said.get("user") or {}
        extra = user.get("extra") or {}
        prefix, _, account = str(user.get("username", "")).rpartition(":")
        kind, _, namespace = prefix.rpartition(":")
        if kind != "system:serviceaccount":
            raise Refused("the token is not a service account's")
        if account != self._agent_account or namespace not in self._namespaces:
            raise Refused("only agents of workload namespaces may store captures")
        names, uids = list(extra.get(_POD_NAME) or []), list(extra.get(_POD_UID) or [])
        if len(names) != 1 or len(uids) != 1:
            raise Refused("the token is bound to no pod")
        return Pod(namespace, names[0], uids[0])

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        if self._session is None:
            raise RuntimeError("used outside of its context")
        try:
            token = await asyncio.to_thread((self._account / "token").read_text)
            async with self._session.request(
                method,
                f"{self._url}{path}",
                json=body,
                headers={"Authorization": f"Bearer {token.strip()}"},
            ) as answer:
                found = await answer.json(content_type=None)
                return answer.status, found if isinstance(found, dict) else {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Refused("the API server cannot be reached: try again", 503) from error
