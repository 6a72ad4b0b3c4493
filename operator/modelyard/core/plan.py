"""What a decision asks for: writes to make, in order, and when to decide again.

A plan either creates children or applies, never both: what one says, the executor does
(runtime/executor.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from modelyard.core.settings import Settings

KubeObject = Mapping[str, Any]
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


class MetricQuery(NamedTuple):
    """A PromQL query that a decision wants answered."""

    query: str
    at_least: datetime
    """The answer must not be older."""


class QueryResult(NamedTuple):
    """What Prometheus said."""

    value: float | None
    """None if there is no single number."""
    problem: str
    """Why there is none, for people; empty if there is one."""
    at: datetime
    """When it was asked."""


@dataclass(frozen=True, slots=True)
class Create:
    """Children to create, and nothing else.

    The object is queued again, behind keys that still have children to create: the rest is decided
    with the children in view, and under load all children come before the statuses that name them.
    A name that is taken is the lock: nothing is created, and the object is decided on again.
    """

    children: tuple[KubeObject, ...]


@dataclass(frozen=True, slots=True)
class Apply:
    """Writes, carried out in the order of the fields; each only where it changes anything.

    `status` is the whole of the status that the operator owns; what pods report in it
    (Controller.pod_owned_fields) is left alone. Events are sent only after the status patch
    succeeded, and only if it changed something.
    """

    apply: tuple[KubeObject, ...] = ()
    apply_unordered: tuple[KubeObject, ...] = ()
    """Applied like `apply`, after it, several at the same time and in no order: children that are
    many and do not depend on each other."""
    delete: tuple[Ref, ...] = ()
    status: KubeObject | None = None
    events: tuple[Event, ...] = ()
    status_first: bool = False
    """Whether status and events come after `apply`, before `apply_unordered` and `delete`: what
    was decided is kept before it is done, so that it cannot come out otherwise after a crash."""
    queries: tuple[MetricQuery, ...] = ()
    """Asked beside everything else; an answer (View.answer) makes the object be decided on
    again."""
    requeue_after: float | None = None
    """Seconds until the object is decided on again even if nothing changes."""


Plan = Create | Apply


class View(Protocol):
    """The cache as decisions see it. Objects are shared: never change them."""

    def get(self, kind: str, namespace: str, name: str) -> KubeObject | None:
        """An object of any cached kind: ours, Job, Pod, Service, apps Deployment (as
        `apps/Deployment`), or None."""

    def children(self, owner: KubeObject, kind: str) -> Iterable[KubeObject]:
        """Objects of a kind whose controller is `owner`, in its namespace: see ownership.py."""

    def select(self, kind: str, namespace: str, index: str, value: str) -> Iterable[KubeObject]:
        """Objects by an index of Controller.indexes."""

    def projections(self, kind: str, namespace: str, index: str, value: str) -> Collection[Any]:
        """What an index notes of each object found by a value: cheap however many there are."""

    def aggregate(self, name: str) -> Any:
        """An aggregate of Controller.aggregates. Shared: only its own methods change it."""

    def answer(self, query: str) -> QueryResult | None:
        """The latest answer to a query of a plan, or None if there is none yet."""

    def kind_available(self, kind: str) -> bool:
        """Whether the cluster has a kind of Controller.optional."""


class Aggregate(Protocol):
    """What is known of many objects together, kept up to date object by object, so that one
    change costs the same however many there are.

    It sees every change of its kinds that the cache takes in, and says which keys must be looked
    at for it. It must keep by itself what it needs to take an object's earlier state back.
    """

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """An object is new or has changed."""

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        """An object is gone; `obj` is its last known state."""


Mapper = Callable[[KubeObject, View], Iterable[Key]]
"""From a changed object of another kind to the objects of ours that must be looked at."""

IndexFunction = Callable[[KubeObject], Iterable[str] | Mapping[str, Any]]
"""From an object to the values it is found by, or to these with a fact each; without one, the fact
is the object's name."""


class ObjectGauge(NamedTuple):
    """A metric of each object of a kind, read from the object when Prometheus asks."""

    name: str
    text: str
    labels: tuple[str, ...]
    """Besides the object's namespace and name."""
    values: Callable[[KubeObject], Iterable[tuple[tuple[str, ...], float]]]
    """Values of these labels, with the number that they have."""


Clock = Callable[[], float]
"""The operator's clock: seconds since the epoch."""


class AggregateKind(NamedTuple):
    """How an aggregate is made: one instance an engine."""

    kinds: tuple[str, ...]
    """Kinds whose objects it takes in."""
    make: Callable[[Clock], Aggregate]
    """Given the clock for the moments at which objects arrive."""


@dataclass(frozen=True)
class Controller:
    """One kind's controller: what it watches and how it decides."""

    kind: str
    observe: Callable[[View, KubeObject, Settings], Any]
    """Gathers, from the cache alone, all that decide looks at."""
    decide: Callable[[Any, datetime], Plan]
    """The decision; `datetime` is now, in UTC. Pure: it changes nothing that it is given."""
    advance: Callable[[View, KubeObject, datetime], None] | None = None
    """Called before `observe`: brings what aggregates know of an object up to `datetime`, so that
    no decision has to."""
    children: tuple[str, ...] = ()
    """Kinds of children; a changed child enqueues the object named in its annotation
    `modelyard.dev/owner` (`Kind/name`)."""
    optional: tuple[str, ...] = ()
    """Kinds of children whose CRDs are not ours: they are watched and may be written only where the
    cluster has them (View.kind_available)."""
    triggers: Mapping[str, Mapper] = field(default_factory=dict)
    """Other kinds whose changes matter, with the mapping to our keys."""
    indexes: Mapping[tuple[str, str], IndexFunction] = field(default_factory=dict)
    """(kind, index name) → index function, for View.select and View.projections."""
    aggregates: Mapping[str, AggregateKind] = field(default_factory=dict)
    """By name, for View.aggregate. A kind that an aggregate of this controller takes in is watched,
    and its changes enqueue what the aggregate says, not the owner: leave it out of `children`."""
    debounce: Callable[[View, Key], float] | None = None
    """Seconds that a change which others will follow (of an aggregate) may wait, so that one
    decision serves them all."""
    gauges: tuple[ObjectGauge, ...] = ()
    """What Prometheus learns of each object."""
    pod_owned_fields: tuple[str, ...] = ()
    """Status fields that pods write; the operator never touches them."""
