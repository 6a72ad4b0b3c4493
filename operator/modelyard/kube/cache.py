"""What the operator knows of the cluster: all watched objects, by UID.

Fed by watch events, by lists, and by the API server's answers to our own writes; the newest
resourceVersion wins, so a decision never acts on a state older than its own writes. Integers
compare resourceVersions of one kind (KEP-5504 makes that official; it has held with etcd always).

Objects are kept as compressed JSON (see packing.py) and decoded when looked at: a hundredth of the
memory of dicts, and a reader cannot change what is kept.
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

from modelyard.contract.labels import OWNER_UID
from modelyard.core.plan import AggregateKind, Clock, IndexFunction, Key, KubeObject, QueryResult
from modelyard.kube.aggregates import Aggregates
from modelyard.kube.api import Object
from modelyard.kube.packing import Packed, Packing
from modelyard.kube.trim import trimmed

DECODED = 128
"""Objects kept decoded: what was looked at last is looked at next."""
TOMBSTONES = 100_000
"""UIDs of deleted objects that are remembered, so that no late answer revives one."""

ENDED = 10_000
"""Names of objects that ended last."""

log = logging.getLogger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V")


class Change(NamedTuple):
    """What an update did to one object."""

    kind: str
    old: KubeObject | None
    """The state before, for an object that is gone and for kinds with `keep_old`."""
    new: KubeObject | None
    """The state now; None for an object that is gone."""
    respecified: bool
    """Whether people's part of it changed: it is new, or gone, or its generation, labels,
    annotations or deletion did."""
    keys: frozenset[Key] = frozenset()
    """What aggregates want looked at for it."""


@dataclass(slots=True)
class _Entry:
    kind: str
    namespace: str
    name: str
    version: int
    asked: int
    """Hash of what people ask for, see Change.respecified."""
    packed: Packed
    owner: str | None
    values: tuple[tuple[str, str, Any], ...]
    """(index, value, fact) under which the object is found."""


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
        """`absent` are kinds that the cluster lacks: there is none of them. By `clock` aggregates
        know when an object arrived."""
        self._keep_old = frozenset(keep_old)
        self._entries: dict[str, _Entry] = {}
        self._absent = frozenset(absent)
        self._names: dict[str, dict[tuple[str, str], str]] = {
            kind: {} for kind in (*kinds, *self._absent)
        }
        self._packings = {kind: Packing() for kind in self._names}
        self._owned: dict[tuple[str, str], dict[str, None]] = {}
        self._indexed: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self._index_functions: dict[str, list[tuple[str, IndexFunction]]] = {}
        for (kind, index), function in (indexes or {}).items():
            self._index_functions.setdefault(kind, []).append((index, function))
        self._aggregates = Aggregates(aggregates or {}, clock)
        self.answers: Callable[[str], QueryResult | None] = lambda query: None
        """Where View.answer looks."""
        self._decoded: OrderedDict[str, Object] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._ended: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that the API server knows."""
        return tuple(kind for kind in self._names if kind not in self._absent)

    # Reading: View.

    def get(self, kind: str, namespace: str, name: str) -> KubeObject | None:
        """See View.get."""
        uid = self._of(kind).get((namespace, name))
        return None if uid is None else self._decode(uid)

    def children(self, owner_uid: str, kind: str) -> Iterable[KubeObject]:
        """See View.children."""
        self._of(kind)
        return [self._decode(uid) for uid in self._owned.get((kind, owner_uid), ())]

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
            raise KeyError(f"no index {index!r} of {kind}: name it in Controller.indexes")
        return self._indexed.get((kind, namespace, index, value), {})

    # Reading: the engine.

    def names(self, kind: str) -> list[tuple[str, str]]:
        """(namespace, name) of all objects of a kind."""
        return list(self._of(kind))

    def count(self, kind: str) -> int:
        """Number of objects of a kind."""
        return len(self._of(kind))

    def ended(self, kind: str, namespace: str, name: str) -> bool:
        """Whether there is no such object now, but lately was one."""
        here = (namespace, name) in self._of(kind)
        return not here and (kind, namespace, name) in self._ended

    def stale(self, kind: str, seen: set[str], version: int) -> list[str]:
        """UIDs that a complete list at `version` should have shown but did not: deleted objects.

        Objects newer than the list are not its business.
        """
        return [
            uid
            for uid in self._of(kind).values()
            if uid not in seen and self._entries[uid].version <= version
        ]

    # Writing.

    def put(self, kind: str, obj: Object) -> Change | None:
        """Take in an object; returns None if it brings nothing new. Takes over `obj`."""
        metadata = obj["metadata"]
        uid = metadata["uid"]
        version = int(metadata["resourceVersion"])
        if uid in self._gone:
            return None
        entry = self._entries.get(uid)
        if entry is not None and version <= entry.version:
            return None
        place = (sys.intern(metadata.get("namespace", "")), metadata["name"])
        keys: frozenset[Key] = frozenset()
        namesake = self._of(kind).get(place)
        if namesake is not None and namesake != uid:
            if version <= self._entries[namesake].version:
                self._bury(uid)
                return None
            ended = self.drop(namesake)
            keys = ended.keys if ended is not None else keys
        old = self._decode(uid) if entry is not None and kind in self._keep_old else None
        if entry is not None:
            self._unlink(uid, entry)
        obj = trimmed(kind, obj)
        metadata = obj["metadata"]
        asked = _asked(metadata)
        fresh = _Entry(
            kind=kind,
            namespace=place[0],
            name=place[1],
            version=version,
            asked=asked,
            packed=self._packings[kind].pack(orjson.dumps(obj)),
            owner=(metadata.get("labels") or {}).get(OWNER_UID),
            values=self._values(kind, obj),
        )
        self._entries[uid] = fresh
        self._link(uid, fresh)
        self._remember(uid, obj)
        respecified = entry is None or entry.asked != asked
        return Change(kind, old, obj, respecified, keys | self._aggregates.put(kind, obj))

    def drop(self, uid: str) -> Change | None:
        """Forget a deleted object for good; returns None if it was not known."""
        self._bury(uid)
        entry = self._entries.get(uid)
        if entry is None:
            return None
        self._ended[entry.kind, entry.namespace, entry.name] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)
        old = self._decode(uid)
        self._unlink(uid, entry)
        del self._entries[uid]
        self._decoded.pop(uid, None)
        return Change(entry.kind, old, None, True, self._aggregates.drop(entry.kind, old))

    def _of(self, kind: str) -> dict[tuple[str, str], str]:
        try:
            return self._names[kind]
        except KeyError:
            raise KeyError(f"kind {kind!r} is not watched: name it in a Controller") from None

    def _values(self, kind: str, obj: Object) -> tuple[tuple[str, str, Any], ...]:
        found: list[tuple[str, str, Any]] = []
        name = obj["metadata"]["name"]
        for index, function in self._index_functions.get(kind, ()):
            try:
                values = function(obj)
                facts = values if isinstance(values, Mapping) else dict.fromkeys(values, name)
                found += [(index, value, fact) for value, fact in facts.items()]
            except Exception:
                # A bug in one index, or an object that its schema should have refused, must not
                # keep the object out of the cache.
                log.exception("index %r failed for %s %s", index, kind, obj["metadata"]["name"])
        return tuple(found)

    def _link(self, uid: str, entry: _Entry) -> None:
        self._names[entry.kind][entry.namespace, entry.name] = uid
        if entry.owner:
            self._owned.setdefault((entry.kind, entry.owner), {})[uid] = None
        for index, value, fact in entry.values:
            where = (entry.kind, entry.namespace, index, value)
            self._indexed.setdefault(where, {})[uid] = fact

    def _unlink(self, uid: str, entry: _Entry) -> None:
        names = self._names[entry.kind]
        if names.get((entry.namespace, entry.name)) == uid:
            del names[entry.namespace, entry.name]
        if entry.owner:
            _discard(self._owned, (entry.kind, entry.owner), uid)
        for index, value, _ in entry.values:
            _discard(self._indexed, (entry.kind, entry.namespace, index, value), uid)

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)

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


def _asked(metadata: Object) -> int:
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
