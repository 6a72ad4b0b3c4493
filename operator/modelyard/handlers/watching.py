"""kopf's part: it watches our kinds, and hands every event to the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import kopf

from modelyard.handlers.kopf_session import WatchSession
from modelyard.kube.connection import CONNECT_SECONDS, Connection
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.engine import Engine

SERVER_SECONDS = 300
"""A watch ends after this long, so that a dead stream is noticed."""


class Retries:
    """Delays between tries of kopf's requests, without end: an API server that is away comes
    back, and a watch that gives up would end the process."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 3)
        while True:
            yield 5


class NoDiffs(kopf.DiffBaseStorage):
    """kopf compares each object with a copy of its last state for handlers that we do not have."""

    def build(self, **_: Any) -> Any:
        """An empty essence, so that nothing is compared."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """No former essence is known."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


class NoProgress(kopf.ProgressStorage):
    """Nor is there any progress of such handlers."""

    def fetch(self, **_: Any) -> Any:
        """There is no progress."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""

    def purge(self, **_: Any) -> None:
        """Nothing is stored."""

    def touch(self, **_: Any) -> None:
        """Nothing is stored."""

    def clear(self, *, essence: Any) -> Any:
        """The essence, unchanged: nothing of ours is in it."""
        return essence


def settings(kinds: Sequence[KubeKind]) -> kopf.OperatorSettings:
    """kopf's settings for watching and nothing else."""
    made = kopf.OperatorSettings()
    made.watching.server_timeout = SERVER_SECONDS
    made.watching.client_timeout = SERVER_SECONDS + 10
    made.watching.connect_timeout = CONNECT_SECONDS
    made.networking.connect_timeout = CONNECT_SECONDS
    made.networking.request_timeout = 60
    made.networking.error_backoffs = Retries()
    made.queueing.idle_timeout = 0.1
    made.queueing.exit_timeout = 0.5
    made.scanning.disabled = True
    made.posting.enabled = False
    made.persistence.diffbase_storage = NoDiffs()
    made.persistence.progress_storage = NoProgress()
    for kind in kinds:
        if kind.selector:
            made.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return made


def registry(
    kinds: Sequence[KubeKind], engine: Engine, connection: Connection
) -> kopf.OperatorRegistry:
    """What kopf watches, and the login, whose session hands the events to the engine."""
    made = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.AiohttpSession:
        session: Any = WatchSession(connection, kinds, engine.watches, engine.on_event)
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    kopf.on.login(registry=made)(login)
    for kind in kinds:
        # kopf watches what has a handler; the events go elsewhere: see watch_stream.py.
        kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=made)(_none)
    return made


async def _none(**_: Any) -> None:
    """Never called."""
