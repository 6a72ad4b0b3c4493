"""What a decision asks for: writes to make, in order, and when to look again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from modelyard.core.settings import Settings

Manifest = Mapping[str, Any]
"""A Kubernetes object as a plain dict, as the API server sends it."""


class Key(NamedTuple):
    """Names an object of one of our kinds; the unit of reconciling."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Ref(NamedTuple):
    """Names any object; with a uid, a delete only hits that very object."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str | None = None


class Event(NamedTuple):
    """A Kubernetes Event about the reconciled object."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes, carried out in the order of the fields; each only where it changes anything.

    A plan with `create` ends there, and the object is looked at again, whether the children were
    made now or a name was taken (it is the lock): the rest is decided with the children in view,
    and under load all children come before the statuses that tell of them. `status` is the whole
    of the status that the operator owns; what pods report in it (see Controller.reported) is left
    alone. Events are sent only after the status patch succeeded and only if it changed something.
    """

    create: tuple[Manifest, ...] = ()
    apply: tuple[Manifest, ...] = ()
    delete: tuple[Ref, ...] = ()
    status: Manifest | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until the object is looked at again even if nothing changes."""


class View(Protocol):
    """The cache as decisions see it. Objects are shared: never change them."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object of any cached kind: ours, Job, Pod, Service, apps Deployment (as
        `apps/Deployment`), or None."""

    def children(self, owner_uid: str, kind: str) -> Iterable[Manifest]:
        """Objects that carry the label `modelyard.dev/owner-uid` with this UID."""

    def select(self, kind: str, namespace: str, index: str, value: str) -> Iterable[Manifest]:
        """Objects by an index of Controller.indexes."""

    def facts(self, kind: str, namespace: str, index: str, value: str) -> Collection[Any]:
        """What an index notes of each object found by a value: cheap however many there are."""


Mapper = Callable[[Manifest, View], Iterable[Key]]
"""From a changed object of another kind to the objects of ours that must be looked at."""

IndexFunction = Callable[[Manifest], Iterable[str] | Mapping[str, Any]]
"""From an object to the values it is found by, or to these with a fact each; without one, the fact
is the object's name."""


@dataclass(frozen=True)
class Controller:
    """One kind's controller: what it watches and how it decides."""

    kind: str
    observe: Callable[[View, Manifest, Settings], Any]
    """Gathers, from the cache alone, all that decide looks at."""
    decide: Callable[[Any, datetime], Plan]
    """The decision; `datetime` is now, in UTC."""
    children: tuple[str, ...] = ()
    """Kinds of children; a changed child enqueues the object named in its annotation
    `modelyard.dev/owner` (`Kind/name`)."""
    triggers: Mapping[str, Mapper] = field(default_factory=dict)
    """Other kinds whose changes matter, with the mapping to our keys."""
    indexes: Mapping[tuple[str, str], IndexFunction] = field(default_factory=dict)
    """(kind, index name) → index function, for View.select and View.facts."""
    reported: tuple[str, ...] = ()
    """Status fields that pods write; the operator never touches them."""
