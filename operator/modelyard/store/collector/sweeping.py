"""Deletes keys under a fence (store/fences.py)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from modelyard.contract.paths import SWEEPS
from modelyard.store.fences import FENCE_SECONDS, SWEEP_SECONDS
from modelyard.store.keys import Entry
from modelyard.store.store import Store


def sweep(
    store: Store,
    due: Iterable[Entry],
    *,
    before: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> list[Entry]:
    """Delete those keys that are still older than `before`; returns what was deleted within
    SWEEP_SECONDS.

    Raises StoreError; the fence then stays, since a deletion without an answer may still happen.
    """
    fence = f"{SWEEPS}{uuid.uuid4()}"
    deadline = clock() + SWEEP_SECONDS
    store.keys.put(fence, b"{}")
    deleted = []
    for one in due:
        now = store.keys.entry(one.key)
        if now is None or now.modified >= before:
            continue
        if clock() >= deadline:
            break
        store.keys.remove(one.key)
        deleted.append(one)
    store.keys.remove(fence)
    return deleted


def remove_stale(store: Store) -> None:
    """Remove the fences of sweeps that were killed; publishers no longer wait for them.

    Raises StoreError.
    """
    fences = list(store.keys.entries(SWEEPS))
    if not fences:
        return
    # The store's own clock says how old they are.
    probe = f"{SWEEPS}{uuid.uuid4()}"
    store.keys.put(probe, b"{}")
    now = store.keys.entry(probe)
    store.keys.remove(probe)
    limit = timedelta(seconds=2 * FENCE_SECONDS)
    for one in fences:
        if now is not None and now.modified - one.modified > limit:
            store.keys.remove(one.key)
