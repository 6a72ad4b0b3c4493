"""Sends files of captures to the store, with a PUT that the intake service signs.

The agent holds no key that can write to the store. It asks the intake service for each file, with
its pod's own token, and gets one signed PUT for this content under its server's prefix. The store
takes a name once; 412 says that an earlier try arrived.

Urgent captures go at once. The others wait for their file of the day, at a time that follows from
the server's name, so that a fleet's uploads are spread over the day; where the disk goes with the
pod, they go as soon as their span is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from modelyard.contract.capture import (
    TOKEN_FOLDER,
    CaptureFile,
    CaptureReason,
    IntakeGrant,
    IntakeRequest,
)
from modelyard.workloads.agent.capture.spool import CaptureSpool

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 86_400.0
TOKEN_FILE = Path(TOKEN_FOLDER) / "token"
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 900.0
_CHUNK = 1 << 20
_TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=60)


class UploadError(Exception):
    """A file could not be stored now. The text begins with a reason, and says what to do."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds that the service asks to wait."""


class Intake(Protocol):
    """Where files go."""

    async def reachable(self) -> bool:
        """Whether it would be worth bundling files."""

    async def store(self, path: Path) -> None:
        """Stores a file, once, whatever happened before. Raises UploadError, OSError."""


class IntakeClient:
    """The intake service, and the store that it signs for."""

    def __init__(
        self, url: str, store_origin: str, server: str, token_file: Path = TOKEN_FILE
    ) -> None:
        """`store_origin` is scheme and host of the store that the agent knows: images go nowhere
        else, whatever the service answers."""
        self._url = url.rstrip("/")
        self._origin = store_origin
        self._server = server
        self._token_file = token_file

    async def reachable(self) -> bool:
        """See Intake."""
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(f"{self._url}/healthz") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def store(self, path: Path) -> None:
        """See Intake."""
        digest, size = await asyncio.to_thread(_measure, path)
        wanted = IntakeRequest(server=self._server, name=path.name, sha256=digest, size_bytes=size)
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
                grant = await self._ask(session, wanted)
                await self._put(session, grant, path)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UploadError(
                f"Unreachable: intake service or store cannot be reached ({_text(error)}); "
                "captures wait on the server"
            ) from error

    async def _ask(self, session: aiohttp.ClientSession, wanted: IntakeRequest) -> IntakeGrant:
        try:
            token = (await asyncio.to_thread(self._token_file.read_text)).strip()
        except OSError as error:
            raise UploadError(
                f"NoToken: {self._token_file} cannot be read ({error.strerror}): restart the pod "
                "so that it gets the intake service's token"
            ) from error
        async with session.post(
            f"{self._url}/v1/captures",
            data=wanted.model_dump_json(by_alias=True),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        ) as answer:
            if answer.status == 200:
                return IntakeGrant.model_validate_json(await answer.read())
            text = (await answer.text())[:200].strip()
            wait = answer.headers.get("Retry-After", "")
            raise UploadError(
                f"IntakeRefused: the intake service answered {answer.status}: {text}",
                float(wait) if wait.isdecimal() else None,
            )

    async def _put(self, session: aiohttp.ClientSession, grant: IntakeGrant, path: Path) -> None:
        parts = urlsplit(grant.url)
        if f"{parts.scheme}://{parts.netloc}" != self._origin:
            raise UploadError(
                f"IntakeRefused: the intake service leads to {parts.scheme}://{parts.netloc}, not "
                f"to this server's store {self._origin}: correct store.endpoint in the chart"
            )
        url = URL(grant.url, encoded=True)
        with path.open("rb") as file:
            async with session.put(
                url, data=file, headers=grant.headers, allow_redirects=False
            ) as answer:
                # 412: it is there, from a try whose answer was lost.
                if answer.status in (200, 201, 204, 412):
                    return
                text = (await answer.text(errors="replace"))[:200].strip()
                raise UploadError(f"StoreRefused: the store answered {answer.status}: {text}")


class Uploader:
    """Brings the spool's files to the store."""

    def __init__(
        self,
        spool: CaptureSpool,
        intake: Intake | None,
        *,
        server: str,
        durable: bool,
        clock: Callable[[], float],
        name: Callable[[dict[CaptureReason, int]], CaptureFile] | None = None,
        period: float = PERIOD_SECONDS,
    ) -> None:
        """`intake` is None where there is no such service; `durable` says whether the spool's disk
        outlives the pod; `clock` gives seconds since 1970."""
        self.name = name
        self._spool = spool
        self._intake = intake
        self._durable = durable
        self._clock = clock
        self._period = period
        self._phase = phase(server)
        self._failures = 0
        self._next = 0.0
        if spool.state.day is None:
            spool.state.day = self._day(clock())
        self.failure: str | None = None
        """Why files wait; None if they do not, or only for their time."""

    async def step(self) -> None:
        """Sends what is due. Raises OSError."""
        now = self._clock()
        if now < self._next <= now + _LONGEST_WAIT:
            return
        if self._intake is None:
            self.failure = (
                "NoIntake: this installation has no intake service, so captures stay on the "
                "server: set intake.enabled in the chart"
            )
            return
        await self._send(self._intake, self._due(now))

    async def last(self) -> None:
        """Sends what the disk will not keep. Raises OSError."""
        if self._intake is not None and not self._durable:
            await self._send(self._intake, True)

    async def _send(self, intake: Intake, bundle: bool) -> None:
        try:
            while True:
                for path in self._spool.uploads():
                    await intake.store(path)
                    await asyncio.to_thread(self._spool.stored, path)
                # Only now: what waits can still be thinned out by reason.
                if not bundle or self.name is None or not await intake.reachable():
                    break
                if await asyncio.to_thread(self._spool.bundle, self.name) is None:
                    self._spool.state.day = self._day(self._clock())
                    await asyncio.to_thread(self._spool.save)
                    break
        except UploadError as error:
            self._failures += 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._failures - 1, 20))
            wait = max(error.wait or 0.0, wait * random.uniform(0.8, 1.2))  # noqa: S311
            self._next = self._clock() + min(wait, _LONGEST_WAIT)
            self.failure = str(error)
            logger.info("captures wait: %s", error)
            return
        self._failures, self._next, self.failure = 0, 0.0, None

    def _due(self, now: float) -> bool:
        if not self._durable:
            return True
        return self._spool.state.day != self._day(now)

    def _day(self, now: float) -> int:
        """Number of the period, which begins at the server's own time of day."""
        return int(now / self._period - self._phase)


def phase(server: str) -> float:
    """When in its period a server uploads, 0 to 1: spread evenly over servers."""
    return int.from_bytes(hashlib.sha256(server.encode()).digest()[:6], "big") / (1 << 48)


def _measure(path: Path) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            hasher.update(part)
            size += len(part)
    return hasher.hexdigest(), size


def _text(error: Any) -> str:
    return str(error) or type(error).__name__
