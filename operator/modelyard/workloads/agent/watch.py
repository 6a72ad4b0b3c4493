"""Where the assignment comes from: the ModelServer, else the Deployment, else memory.

Level-triggered: each source is read whole and only its latest state counts, whichever way it
arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from modelyard.api.modelserver import Assignment, ModelServerStatus, Shadowing
from modelyard.api.monitoring import ServerMonitoring
from modelyard.workloads.agent.apiserver import ApiError, ApiServer, Object

logger = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=BaseModel)

Source = Literal["ModelServer", "Deployment", "memory"]

_WATCH_SECONDS = 240
"""Duration of one watch; the object is listed again after it, in case an event was missed."""
_NO_SERVER_SECONDS = 10
"""The same while there is no ModelServer and the Deployment's stable version is served instead."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0


@dataclass(frozen=True)
class Wanted:
    """What the server must hold, and the source of that."""

    assignment: Assignment | None
    """None if the source has one that this agent cannot read."""
    source: Source
    generation: int | None = None
    """Of the ModelServer."""
    problem: str = ""
    """Why the assignment cannot be read."""


@dataclass
class Assigned:
    """The last known state of both ends; loops wait for `changed`."""

    wanted: Wanted | None = None
    server: Object | None = None
    """The ModelServer as last seen."""
    staged: Assignment | None = None
    """A version to fetch ahead of its switch."""
    shadow: Shadowing | None = None
    """A version to run beside the one that serves."""
    monitoring: ServerMonitoring | None = None
    """What to look at beside serving."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Another version is wanted."""
    staged_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Another version is to be fetched."""
    shadow_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Another version is to run beside."""
    monitoring_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Something else is to be looked at."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing is due for the assigned version: other work may go on."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """The ModelServer was seen in another state."""

    def want(self, wanted: Wanted) -> None:
        """Set the assignment; wakes the loader if it differs."""
        if wanted != self.wanted:
            logger.info("assigned %s (%s)", _words(wanted), wanted.source)
            if self.wanted is None or wanted.assignment != self.wanted.assignment:
                self.idle.clear()
            self.wanted = wanted
            self.changed.set()

    def see(self, server: Object | None) -> None:
        """Take over a state of the ModelServer, unless a later one is known."""
        if server and self.server and _older(server, self.server):
            return
        self.server = server
        self.seen.set()
        self._want_beside(server)
        if server is not None:
            self.want(read_assignment(server))

    def _want_beside(self, server: Object | None) -> None:
        staged = _read_spec(server, "staged", Assignment)
        if staged != self.staged:
            self.staged = staged
            self.staged_changed.set()
        shadow = _read_spec(server, "shadow", Shadowing)
        if shadow != self.shadow:
            self.shadow = shadow
            self.shadow_changed.set()
        monitoring = _read_spec(server, "monitoring", ServerMonitoring)
        if monitoring != self.monitoring:
            self.monitoring = monitoring
            self.monitoring_changed.set()

    def reported_by(self, pod_name: str) -> bool:
        """Whether this pod's agent is the one that reports into the ModelServer, as far as is
        known. An edge server's outlives its pods: the operator enters the new one."""
        spec = (self.server or {}).get("spec") or {}
        return bool(spec.get("podName") == pod_name)

    @property
    def status(self) -> ModelServerStatus:
        """The ModelServer's status as last seen; empty if it has none that can be read."""
        try:
            return ModelServerStatus.model_validate((self.server or {}).get("status") or {})
        except ValidationError:
            return ModelServerStatus()


def read_assignment(server: Object) -> Wanted:
    """The assignment in a ModelServer. Fields of a newer operator are left alone."""
    generation = server["metadata"].get("generation")
    try:
        found = Assignment.model_validate(server["spec"]["assigned"], extra="ignore")
    except (KeyError, TypeError, ValidationError) as error:
        return Wanted(None, "ModelServer", generation, _problem(error))
    return Wanted(found, "ModelServer", generation)


def _read_spec(server: Object | None, key: str, kind: type[_Model]) -> _Model | None:
    """An optional field of a ModelServer's spec; None if it has none that can be read."""
    value = ((server or {}).get("spec") or {}).get(key)
    if value is None:
        return None
    try:
        return kind.model_validate(value, extra="ignore")
    except ValidationError as error:
        logger.warning("spec.%s cannot be read and is left alone: %s", key, _problem(error))
        return None


def read_stable(deployment: Object) -> Wanted | None:
    """The version that a Deployment's servers were last brought to, with the pipeline as its spec
    wants it; None if there is none."""
    stable: Any = (deployment.get("status") or {}).get("stable")
    if not stable:
        return None
    try:
        pipeline = (deployment.get("spec") or {}).get("pipeline") or {}
        fields = {**stable, "pipeline": pipeline}
        return Wanted(Assignment.model_validate(fields, extra="ignore"), "Deployment")
    except (TypeError, ValidationError) as error:
        return Wanted(None, "Deployment", problem=_problem(error))


class Watch:
    """Keeps an `Assigned` up to date."""

    def __init__(
        self,
        api: ApiServer,
        assigned: Assigned,
        *,
        server_name: str,
        deployment: str,
        remembered: Assignment | None,
        on_error: Callable[[], None] = lambda: None,
    ) -> None:
        """`remembered` is what is served while the API server cannot be reached at the start."""
        self._api = api
        self._assigned = assigned
        self._name = server_name
        self._deployment = deployment
        self._remembered = remembered
        self._on_error = on_error
        self.connected = False
        """Whether the last call to the API server succeeded."""

    async def run(self) -> None:
        """Watches until cancelled."""
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await self._once()
                backoff = _FIRST_BACKOFF
            except (ApiError, OSError) as error:
                if self.connected:
                    backoff = _FIRST_BACKOFF
                self._lost(error)
                await asyncio.sleep(backoff * random.uniform(0.7, 1.3))  # noqa: S311
                backoff = min(2 * backoff, _LONGEST_BACKOFF)

    async def _once(self) -> None:
        server, version = await self._api.list_one("modelservers", self._name)
        if not self.connected:
            logger.info("connected to the API server")
        self.connected = True
        self._assigned.see(server)
        if server is None:
            await self._ask_deployment()
        seconds = _WATCH_SECONDS if server else _NO_SERVER_SECONDS
        seconds = round(seconds * random.uniform(0.8, 1.2))  # noqa: S311
        stream = self._api.watch_one("modelservers", self._name, version, seconds)
        async with contextlib.aclosing(stream):  # type: ignore[type-var]
            async for state in stream:
                self._assigned.see(state)
                if (state is None) != (server is None):
                    return

    async def _ask_deployment(self) -> None:
        # Once there was a ModelServer, its last assignment holds until it is back: in the middle
        # of a rollout, the stable version may be older.
        wanted = self._assigned.wanted
        if wanted is not None and wanted.source == "ModelServer":
            return
        deployment = await self._api.get("deployments", self._deployment)
        stable = read_stable(deployment) if deployment else None
        if stable is not None:
            self._assigned.want(stable)

    def _lost(self, error: Exception) -> None:
        self._on_error()
        if self.connected or self._assigned.wanted is None:
            logger.warning("%s; the present version goes on serving", error)
        self.connected = False
        if self._assigned.wanted is None and self._remembered is not None:
            self._assigned.want(Wanted(self._remembered, "memory"))


def _older(one: Object, other: Object) -> bool:
    """Whether a state came before another of the same object; resource versions are ordered
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions)."""
    a, b = one["metadata"], other["metadata"]
    if a.get("uid") != b.get("uid"):
        return False
    try:
        return int(a["resourceVersion"]) < int(b["resourceVersion"])
    except (KeyError, ValueError):
        return False


def _problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"{type(error).__name__}: {error}"


def _words(wanted: Wanted) -> str:
    one = wanted.assignment
    if one is None:
        return f"something unreadable ({wanted.problem})"
    return f"{one.model_version} (version {one.version}, {one.artifact} {one.digest[:19]}…)"
