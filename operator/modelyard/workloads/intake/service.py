"""Answers requests: POST /v1/captures, GET /healthz, GET /metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from pydantic import ValidationError

from modelyard.contract.capture import CaptureFile, IntakeGrant, IntakeRequest, server_prefix
from modelyard.store.presigning import signed_put
from modelyard.workloads.intake.access import Pod, Refused
from modelyard.workloads.intake.limits import Limit
from modelyard.workloads.intake.settings import Settings

logger = logging.getLogger(__name__)

GRANT_SECONDS = 900
"""How long a grant holds: a large file on a slow line."""
_HOUR, _DAY = 3600.0, 86_400.0
_MAX_BODY = 4096
_MAX_TOKEN = 8192


class Gate(Protocol):
    """access.Access."""

    async def pod(self, token: str) -> Pod:
        """Raises Refused."""

    async def deployment(self, pod: Pod, server: str) -> str:
        """Raises Refused."""


class Service:
    """The intake service."""

    def __init__(
        self, settings: Settings, gate: Gate, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._clock = clock
        self._requests = Limit(settings.requests_per_hour, _HOUR)
        self._bytes = Limit(settings.bytes_per_day, _DAY)
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "modelyard_intake_requests",
            "Requests to store captures, by HTTP status",
            ["status"],
            registry=self._registry,
        )

    def application(self) -> web.Application:
        """The server."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/v1/captures", self._capture)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def grant(self, token: str, wanted: IntakeRequest) -> IntakeGrant:
        """One PUT for the server whose pod's token it is. Raises Refused."""
        if CaptureFile.parse(wanted.name) is None:
            raise Refused(f"{wanted.name} is no name of a file of captures", 400)
        pod = await self._gate.pod(token)
        deployment = await self._gate.deployment(pod, wanted.server)
        who, now = f"{pod.namespace}/{wanted.server}", self._clock()
        wait = self._requests.wait(who, 1, now) or self._bytes.wait(who, wanted.size_bytes, now)
        if wait:
            raise Limited(wait)
        put = signed_put(
            self._settings.location.within(pod.namespace),
            server_prefix(deployment, wanted.server) + wanted.name,
            sha256=wanted.sha256,
            size=wanted.size_bytes,
            seconds=GRANT_SECONDS,
            credentials=self._settings.credentials,
        )
        return IntakeGrant(url=put.url, headers=put.headers, expires_seconds=GRANT_SECONDS)

    async def _capture(self, request: web.Request) -> web.Response:
        try:
            token = _token(request)
            wanted = IntakeRequest.model_validate_json(await request.read())
            grant = await self.grant(token, wanted)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            return self._answer(400, f"{where}: {first['msg']}")
        except Limited as error:
            return self._answer(429, str(error), {"Retry-After": str(int(error.wait) + 1)})
        except Refused as error:
            logger.info("refused with %d: %s", error.status, error)
            return self._answer(error.status, str(error))
        self._answers.labels("200").inc()
        return web.json_response(text=grant.model_dump_json(by_alias=True))

    def _answer(
        self, status: int, text: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self._answers.labels(str(status)).inc()
        return web.Response(status=status, text=f"{text}\n", headers=headers)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(self._registry), headers=headers)


class Limited(Refused):
    """The server has asked for too much."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too much for one server: try again in {wait:.0f} s", 429)
        self.wait = wait


def _token(request: web.Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
        raise Refused("send the pod's token: Authorization: Bearer …", 401)
    return token.strip()
