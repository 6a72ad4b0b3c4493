"""Which objects refer to which: usedBy, and the triggers and indexes that follow from KindInfo.

A kind registers what it uses (KindInfo.uses, KindInfo.selects); `completed` adds to its controller
all that this implies, so that a decision only asks `used_by`. For Datasets and TrainingJobs:

    TrainingJob changes  →  its Dataset is reconciled: who needs it?   (protects, notifies)
    Dataset changes      →  TrainingJobs that have not pinned it yet   (pinned_by)

Indexes make both cost the same however many objects there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from modelyard.api.kinds import ALL_KINDS
from modelyard.api.registration import KindInfo, Selection, Use, fill, template
from modelyard.core import meta
from modelyard.core.plan import Controller, IndexFunction, Key, KubeObject, Mapper, View

SHOWN = 5
"""Users that usedBy shows; the list is sorted so that it is the same each time."""
USED_BY = "used-by"
"""Index of an object by the users that its status shows."""

Kinds = Iterable[KindInfo]


def used_by(view: View, obj: KubeObject, kind: str, kinds: Kinds = ALL_KINDS) -> list[str] | None:
    """The first objects that need this one, as `Kind name`; None if there are none."""
    every = (
        f"{user.kind} {name}"
        for user in kinds
        if protecting(user, kind)
        for name in view.projections(user.kind, meta.namespace(obj), _needs(kind), meta.name(obj))
    )
    return heapq.nsmallest(SHOWN, every) or None


def protecting(user: KindInfo, kind: str) -> tuple[Use, ...]:
    """The uses by which objects of one kind keep objects of another from being deleted."""
    return tuple(use for use in user.uses if use.kind == kind and use.protects)


def completed(own: Controller, info: KindInfo, kinds: Kinds = ALL_KINDS) -> Controller:
    """A controller with the triggers and indexes that follow from its kind's registration and
    from those of the kinds that use it, and with the fields that pods report."""
    kinds = tuple(kinds)
    triggers: dict[str, list[Mapper]] = {kind: [one] for kind, one in own.triggers.items()}
    indexes = dict(own.indexes)
    for user in kinds:
        if any(use.kind == info.kind and (use.protects or use.notifies) for use in user.uses):
            triggers.setdefault(user.kind, []).append(_named(user, info.kind))
        if protecting(user, info.kind):
            indexes[user.kind, _needs(info.kind)] = _needed(user, info.kind)
            indexes[info.kind, USED_BY] = _shown
    for target in dict.fromkeys(use.kind for use in info.uses if use.pinned_by):
        triggers.setdefault(target, []).append(_waiting(info, target))
        indexes[info.kind, _awaits(target)] = _awaited(info, target)
    for selection in info.selects:
        triggers.setdefault(selection.kind, []).append(_selecting(info, selection))
        indexes[info.kind, selection.index] = template(selection.own)
        indexes[selection.kind, selection.index] = template(selection.theirs)
    return replace(
        own,
        triggers={kind: _all(mappers) for kind, mappers in triggers.items()},
        indexes=indexes,
        pod_owned_fields=info.reporter.fields if info.reporter else own.pod_owned_fields,
    )


def _needs(kind: str) -> str:
    """Index of users by the objects of a kind that they need now."""
    return f"needs-{kind}"


def _awaits(kind: str) -> str:
    """Index of users by the objects of a kind whose changes still matter to them."""
    return f"awaits-{kind}"


def _needed(user: KindInfo, kind: str) -> IndexFunction:
    uses = [(template(use.name), use.until) for use in protecting(user, kind)]

    def index(obj: KubeObject) -> tuple[str, ...]:
        if meta.deleting(obj):
            return ()
        phase = meta.status(obj).get("phase")
        return _each(obj, [names for names, until in uses if phase not in until])

    return index


def _awaited(user: KindInfo, kind: str) -> IndexFunction:
    waiting = [
        (template(use.name), template(f"{{{use.pinned_by}}}"))
        for use in user.uses
        if use.kind == kind and use.pinned_by
    ]

    def index(obj: KubeObject) -> tuple[str, ...]:
        return _each(obj, [names for names, pinned in waiting if not pinned(obj)])

    return index


def _shown(obj: KubeObject) -> tuple[str, ...]:
    return tuple(meta.status(obj).get("usedBy") or ())


def _named(user: KindInfo, kind: str) -> Mapper:
    """From a user to the objects that it names, needed or not, and to those that still show it:
    they learn that it came, and that it went."""
    uses = [
        template(use.name)
        for use in user.uses
        if use.kind == kind and (use.protects or use.notifies)
    ]
    shows = bool(protecting(user, kind))

    def map_(obj: KubeObject, view: View) -> Iterator[Key]:
        space = meta.namespace(obj)
        for name in _each(obj, uses):
            yield Key(kind, space, name)
        if shows:
            for name in view.projections(kind, space, USED_BY, f"{user.kind} {meta.name(obj)}"):
                yield Key(kind, space, name)

    return map_


def _waiting(user: KindInfo, kind: str) -> Mapper:
    """From an object to the users that wait for it."""

    def map_(obj: KubeObject, view: View) -> Iterator[Key]:
        space = meta.namespace(obj)
        for name in view.projections(user.kind, space, _awaits(kind), meta.name(obj)):
            yield Key(user.kind, space, name)

    return map_


def _selecting(info: KindInfo, selection: Selection) -> Mapper:
    """From an object to those that select it."""

    def map_(obj: KubeObject, view: View) -> Iterator[Key]:
        space = meta.namespace(obj)
        for value in fill(selection.theirs, obj):
            for name in view.projections(info.kind, space, selection.index, value):
                yield Key(info.kind, space, name)

    return map_


def _each(obj: KubeObject, templates: Sequence[IndexFunction]) -> tuple[str, ...]:
    """What templates say of an object, each once, in a stable order."""
    # Indexes ask this of every object that the cache takes in: no generators.
    if len(templates) == 1:
        return tuple(templates[0](obj))
    found: dict[str, None] = {}
    for names in templates:
        for name in names(obj):
            found[name] = None
    return tuple(found)


def _all(mappers: list[Mapper]) -> Mapper:
    if len(mappers) == 1:
        return mappers[0]
    return lambda obj, view: (key for mapper in mappers for key in mapper(obj, view))
