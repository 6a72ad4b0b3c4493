"""All watched objects, by UID: what the operator knows about the cluster.

It is filled by watch events, by lists, and by the API server's responses to our own writes. The
newest resourceVersion wins, so no decision uses a state older than the operator's own writes.
resourceVersions of one kind are compared as integers (KEP-5504 guarantees that; with etcd it has
always worked).

Objects are kept as compressed JSON (packing.py), trimmed to the fields that are read (trim.py), and
decoded when they are read. That takes a hundredth of the memory of dicts, and readers cannot change
what is cached. Decisions read it through `core.plan.View`; runtime/resync.py corrects it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import orjson

from modelyard.core import ownership
from modelyard.core.plan import AggregateKind, Clock, IndexFunction, Key, KubeObject, QueryResult
from modelyard.kube.aggregates import Aggregates
from modelyard.kube.api import Object
from modelyard.kube.packing import Packed, Packing
from modelyard.kube.trim import trimmed

DECODED = 128
"""Objects kept decoded, least recently used first out: most are read several times in a row."""

TOMBSTONES = 100_000
"""UIDs of deleted objects to remember, so that a late response does not bring one back."""

RECENTLY_DELETED = 10_000
"""Names of deleted objects to remember, see Cache.recently_deleted."""

log = logging.getLogger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V")


class Change(NamedTuple):
    """The effect of an update on one object."""

    kind: str
    old: KubeObject | None
    """The state before: for deleted objects, and for kinds in `keep_old`."""
    new: KubeObject | None
    """The state now; None for a deleted object."""
    user_changed: bool
    """Whether more than the status changed: the object is new or deleted, or its generation,
    labels, annotations or deletionTimestamp changed."""
    keys: frozenset[Key] = frozenset()
    """Keys that aggregates want reconciled because of it."""


@dataclass(slots=True)
class _Entry:
    kind: str
    namespace: str
    name: str
    version: int
    user_hash: int
    """Hash of the part that users write, see Change.user_changed."""
    packed: Packed
    owner: ownership.Place | None
    values: tuple[tuple[str, str, Any], ...]
    """(index, value, projection) for each index entry of the object."""


class Cache:
    """Implements View."""

    def __init__(
        self,
        kinds: Iterable[str],
        indexes: Mapping[tuple[str, str], IndexFunction] | None = None,
        *,
        keep_old: Iterable[str] = (),
        aggregates: Mapping[str, AggregateKind] | None = None,
        absent: Collection[str] = (),
        clock: Clock = time.time,
    ) -> None:
        """`absent` are kinds that the cluster does not have; they read as empty. `clock` gives
        aggregates the time at which an object arrived."""
        self._keep_old = frozenset(keep_old)
        self._entries: dict[str, _Entry] = {}
        self._absent = frozenset(absent)
        self._names: dict[str, dict[tuple[str, str], str]] = {
            kind: {} for kind in (*kinds, *self._absent)
        }
        self._packings = {kind: Packing() for kind in self._names}
        self._owned: dict[tuple[str, ownership.Place], dict[str, None]] = {}
        self._indexed: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self._index_functions: dict[str, list[tuple[str, IndexFunction]]] = {}
        for (kind, index), function in (indexes or {}).items():
            self._index_functions.setdefault(kind, []).append((index, function))
        self._aggregates = Aggregates(aggregates or {}, clock)
        self.answers: Callable[[str], QueryResult | None] = lambda query: None
        """Where View.answer gets its results."""
        self._decoded: OrderedDict[str, Object] = OrderedDict()
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._recently_deleted: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that the API server knows."""
        return tuple(kind for kind in self._names if kind not in self._absent)

    # Reads of decisions (View).

    def get(self, kind: str, namespace: str, name: str) -> KubeObject | None:
        """See View.get."""
        uid = self._of(kind).get((namespace, name))
        return None if uid is None else self._decode(uid)

    def children(self, owner: KubeObject, kind: str) -> Iterable[KubeObject]:
        """See View.children."""
        self._of(kind)
        place = ownership.place(owner)
        return [self._decode(uid) for uid in self._owned.get((kind, place), ())]

    def select(self, kind: str, namespace: str, index: str, value: str) -> Iterable[KubeObject]:
        """See View.select."""
        return [self._decode(uid) for uid in self._found(kind, namespace, index, value)]

    def projections(self, kind: str, namespace: str, index: str, value: str) -> Collection[Any]:
        """See View.projections."""
        return self._found(kind, namespace, index, value).values()

    def aggregate(self, name: str) -> Any:
        """See View.aggregate."""
        return self._aggregates[name]

    def answer(self, query: str) -> QueryResult | None:
        """See View.answer."""
        return self.answers(query)

    def kind_available(self, kind: str) -> bool:
        """See View.kind_available."""
        self._of(kind)
        return kind not in self._absent

    def _found(self, kind: str, namespace: str, index: str, value: str) -> dict[str, Any]:
        if all(index != known for known, _ in self._index_functions.get(kind, ())):
            raise KeyError(f"no index {index!r} of {kind}: add it to Controller.indexes")
        return self._indexed.get((kind, namespace, index, value), {})

    # Reads of the engine.

    def names(self, kind: str) -> list[tuple[str, str]]:
        """(namespace, name) of all objects of a kind."""
        return list(self._of(kind))

    def count(self, kind: str) -> int:
        """Number of objects of a kind."""
        return len(self._of(kind))

    def recently_deleted(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the object does not exist now but did until recently."""
        here = (namespace, name) in self._of(kind)
        return not here and (kind, namespace, name) in self._recently_deleted

    def stale(self, kind: str, seen: set[str], version: int) -> list[str]:
        """UIDs of cached objects that a complete list at `version` lacks: they were deleted.

        Objects newer than the list are left out.
        """
        return [
            uid
            for uid in self._of(kind).values()
            if uid not in seen and self._entries[uid].version <= version
        ]

    # Writes.

    def put(self, kind: str, obj: Object) -> Change | None:
        """Add or update an object; returns None if it is not newer. Takes ownership of `obj`."""
        metadata = obj["metadata"]
        uid = metadata["uid"]
        version = int(metadata["resourceVersion"])
        if uid in self._tombstones:
            return None
        entry = self._entries.get(uid)
        if entry is not None and version <= entry.version:
            return None
        place = (sys.intern(metadata.get("namespace", "")), metadata["name"])
        keys: frozenset[Key] = frozenset()
        predecessor = self._of(kind).get(place)
        if predecessor is not None and predecessor != uid:
            if version <= self._entries[predecessor].version:
                self._add_tombstone(uid)
                return None
            deleted = self.drop(predecessor)
            keys = deleted.keys if deleted is not None else keys
        old = self._decode(uid) if entry is not None and kind in self._keep_old else None
        if entry is not None:
            self._unlink(uid, entry)
        obj = trimmed(kind, obj)
        metadata = obj["metadata"]
        user_hash = _user_hash(metadata)
        new = _Entry(
            kind=kind,
            namespace=place[0],
            name=place[1],
            version=version,
            user_hash=user_hash,
            packed=self._packings[kind].pack(orjson.dumps(obj)),
            owner=ownership.owner_place(obj),
            values=self._values(kind, obj),
        )
        self._entries[uid] = new
        self._link(uid, new)
        self._remember(uid, obj)
        user_changed = entry is None or entry.user_hash != user_hash
        return Change(kind, old, obj, user_changed, keys | self._aggregates.put(kind, obj))

    def drop(self, uid: str) -> Change | None:
        """Remove a deleted object; returns None if it was not cached."""
        self._add_tombstone(uid)
        entry = self._entries.get(uid)
        if entry is None:
            return None
        self._recently_deleted[entry.kind, entry.namespace, entry.name] = None
        if len(self._recently_deleted) > RECENTLY_DELETED:
            self._recently_deleted.popitem(last=False)
        old = self._decode(uid)
        self._unlink(uid, entry)
        del self._entries[uid]
        self._decoded.pop(uid, None)
        return Change(entry.kind, old, None, True, self._aggregates.drop(entry.kind, old))

    def _of(self, kind: str) -> dict[tuple[str, str], str]:
        try:
            return self._names[kind]
        except KeyError:
            raise KeyError(f"kind {kind!r} is not watched: add it to a Controller") from None

    def _values(self, kind: str, obj: Object) -> tuple[tuple[str, str, Any], ...]:
        found: list[tuple[str, str, Any]] = []
        name = obj["metadata"]["name"]
        for index, function in self._index_functions.get(kind, ()):
            try:
                values = function(obj)
                projections = values if isinstance(values, Mapping) else dict.fromkeys(values, name)
                found += [(index, value, projection) for value, projection in projections.items()]
            except Exception:
                # A bug in one index, or an object that its schema should have rejected, must not
                # keep the object out of the cache.
                log.exception("index %r failed for %s %s", index, kind, obj["metadata"]["name"])
        return tuple(found)

    def _link(self, uid: str, entry: _Entry) -> None:
        self._names[entry.kind][entry.namespace, entry.name] = uid
        if entry.owner:
            self._owned.setdefault((entry.kind, entry.owner), {})[uid] = None
        for index, value, projection in entry.values:
            where = (entry.kind, entry.namespace, index, value)
            self._indexed.setdefault(where, {})[uid] = projection

    def _unlink(self, uid: str, entry: _Entry) -> None:
        names = self._names[entry.kind]
        if names.get((entry.namespace, entry.name)) == uid:
            del names[entry.namespace, entry.name]
        if entry.owner:
            _discard(self._owned, (entry.kind, entry.owner), uid)
        for index, value, _ in entry.values:
            _discard(self._indexed, (entry.kind, entry.namespace, index, value), uid)

    def _add_tombstone(self, uid: str) -> None:
        self._tombstones[uid] = None
        if len(self._tombstones) > TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _decode(self, uid: str) -> Object:
        found = self._decoded.get(uid)
        if found is None:
            found = orjson.loads(self._entries[uid].packed.unpacked())
            self._remember(uid, found)
        else:
            self._decoded.move_to_end(uid)
        return found

    def _remember(self, uid: str, obj: Object) -> None:
        self._decoded[uid] = obj
        self._decoded.move_to_end(uid)
        if len(self._decoded) > DECODED:
            self._decoded.popitem(last=False)


def _user_hash(metadata: Object) -> int:
    parts = [metadata.get("generation"), metadata.get("deletionTimestamp")]
    for field in ("labels", "annotations"):
        parts.append(frozenset((metadata.get(field) or {}).items()))
    return hash(tuple(parts))


def _discard(index: dict[_K, dict[str, _V]], key: _K, uid: str) -> None:
    bucket = index.get(key)
    if bucket is not None:
        bucket.pop(uid, None)
        if not bucket:
            del index[key]
