"""One run of the collector on one part: look, remember, delete. Why it is safe: __init__.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from modelyard.contract.paths import BLOBS
from modelyard.store.collector import abandoned, captures
from modelyard.store.collector import state as states
from modelyard.store.collector.evidence import Evidence
from modelyard.store.collector.marking import Marker, collectable
from modelyard.store.collector.sweeping import remove_stale, sweep
from modelyard.store.errors import DigestMismatch
from modelyard.store.keys import Entry
from modelyard.store.store import Store

SKEW = timedelta(hours=1)
"""How far the clocks of store, API server and collector may be apart."""


@dataclass(frozen=True)
class Policy:
    """What a run may do."""

    grace: timedelta = timedelta(days=7)
    """How long a key must not have been needed before it is deleted; at least twice SKEW."""
    delete: bool = False
    """Otherwise it only reports what it would delete."""
    expire: bool = False
    """Whether captures go that have outlived their retention."""


@dataclass(frozen=True)
class Report:
    """What a run found and did."""

    bytes: int = 0
    """Of all keys."""
    blobs: int = 0
    unneeded_bytes: int = 0
    """Of keys that nothing needs now."""
    due_bytes: int = 0
    """Of those that nothing has needed for the grace period: what is, or would be, deleted."""
    due: int = 0
    deleted_bytes: int = 0
    deleted: int = 0
    captures: int = 0
    """Captured images."""
    capture_bytes: int = 0
    captures_expired: int = 0
    """Files of captures that have outlived their retention: what is, or would be, deleted."""
    uploads: int | None = None
    """Uploads that were begun and not ended; None if that is not known: see `uploads_unknown`."""
    uploads_due: int = 0
    """Those that began before the grace period, and before any Job that has not ended."""
    uploads_aborted: int = 0
    uploads_unknown: str = ""
    """Why they are not known."""
    missing: tuple[tuple[str, str], ...] = ()
    """Digests that are needed and not there, each with what needs it."""
    problem: str = ""
    """Why nothing was deleted."""


def collect(
    store: Store,
    look: Callable[[], Evidence],
    policy: Policy,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Report:
    """Run on one part. `look` takes the evidence anew each time; its errors end the run.

    Raises StoreError.
    """
    # The part first: what is put from here on is not among the entries, so that an object that is
    # not seen yet cannot lose it.
    entries = [one for one in store.keys.entries() if not one.key.startswith("_collector/")]
    evidence, state = look(), states.load(store)
    blobs = sum(one.key.startswith(BLOBS) for one in entries)
    report = Report(bytes=_size(entries), blobs=blobs)
    if state.owner not in (None, evidence.owner):
        return replace(report, problem=_another(store, state, evidence))
    marker = Marker(store, entries)
    cutoff = _cutoff(evidence, policy, now())
    try:
        needed = marker.needed(evidence, cutoff)
    except DigestMismatch as error:
        return replace(report, problem=f"what a damaged blob needs is not known: {error}")
    unneeded = [one for one in entries if collectable(one.key) and one.key not in needed]
    state = state.with_unneeded(evidence.owner, (one.key for one in unneeded), now())
    state.save(store)
    due = _due(unneeded, state, cutoff, now() - policy.grace)
    uploads = abandoned.find(store.uploads, cutoff, now())
    captured = captures.find(
        entries, evidence.retentions, evidence.captures | marker.captures, now() - SKEW
    )
    report = replace(
        report,
        captures=captured.images,
        capture_bytes=captured.bytes,
        captures_expired=len(captured.expired),
        unneeded_bytes=_size(unneeded),
        due_bytes=_size(due),
        due=len(due),
        uploads=uploads.count,
        uploads_due=len(uploads.due),
        uploads_unknown=uploads.unknown,
        missing=tuple(sorted(marker.missing().items())),
    )
    if policy.expire:
        # Nobody puts them again: their names are taken once.
        for one in captured.expired:
            store.keys.remove(one.key)
    if not policy.delete:
        return report
    remove_stale(store)
    deleted = _delete(store, look, marker, due, policy, now)
    return replace(
        report,
        deleted_bytes=_size(deleted),
        deleted=len(deleted),
        uploads_aborted=abandoned.abort(store.uploads, uploads.due),
    )


def _size(entries: Iterable[Entry]) -> int:
    return sum(one.size for one in entries)


def _another(store: Store, state: states.State, evidence: Evidence) -> str:
    """Why a part is left alone whose state names another namespace."""
    return (
        f"{store.url} belongs to a namespace with UID {state.owner}, this one has UID "
        f"{evidence.owner}: another cluster uses it, or the namespace was made anew; in the "
        "latter case run `modelyard store adopt`"
    )


def _due(
    unneeded: list[Entry], state: states.State, cutoff: datetime, limit: datetime
) -> list[Entry]:
    """What was put before `cutoff` and has not been needed since `limit`."""
    return [
        one
        for one in unneeded
        if one.modified < cutoff and one.key in state.unneeded and state.unneeded[one.key] <= limit
    ]


def _delete(
    store: Store,
    look: Callable[[], Evidence],
    marker: Marker,
    due: list[Entry],
    policy: Policy,
    now: Callable[[], datetime],
) -> list[Entry]:
    """Delete in sweeps, with new evidence before each."""
    deleted: list[Entry] = []
    rest = due
    while rest:
        evidence = look()
        cutoff = _cutoff(evidence, policy, now())
        needed = marker.needed(evidence, cutoff)
        rest = [one for one in rest if one.key not in needed]
        done = sweep(store, rest, before=cutoff)
        deleted += done
        if not done:
            break  # What is left has been put again.
        gone = {one.key for one in done}
        rest = [one for one in rest if one.key not in gone]
    return deleted


def _cutoff(evidence: Evidence, policy: Policy, now: datetime) -> datetime:
    """What was put later may belong to an upload that is going on, or that no object names yet."""
    cutoff = now - policy.grace
    if evidence.busy_since is not None:
        cutoff = min(cutoff, evidence.busy_since)
    return cutoff - SKEW
