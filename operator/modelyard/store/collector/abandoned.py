"""Which unfinished uploads of a part nobody will finish (store/unfinished.py), and their end.

An upload whose sender was killed is told from one that goes on by its age alone: it began before
the grace period, and before every Job that has not ended. That holds too for what people upload,
whose requests take six hours at most (store/opening.py), hence at least a day. Where the guess is
wrong after all, the sender's next request fails, and it starts over: nothing that was stored goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.store.errors import StoreError
from modelyard.store.unfinished import Upload, Uploads

AT_LEAST = timedelta(days=1)
"""However short the grace period is."""


@dataclass(frozen=True)
class Abandoned:
    """What was found."""

    count: int | None
    """All unfinished uploads; None if they are not known."""
    due: tuple[Upload, ...] = ()
    """Those that nobody will finish."""
    unknown: str = ""
    """Why they are not known."""


def find(uploads: Uploads, cutoff: datetime, now: datetime) -> Abandoned:
    """Those begun before `cutoff` are due. Never raises StoreError: that uploads cannot be listed,
    such as for want of a right, must not keep blobs from being collected."""
    before = min(cutoff, now - AT_LEAST)
    if uploads.unknown:
        return Abandoned(None, unknown=uploads.unknown)
    try:
        begun = list(uploads.begun())
    except StoreError as error:
        return Abandoned(None, unknown=str(error))
    return Abandoned(len(begun), tuple(one for one in begun if one.began < before))


def abort(uploads: Uploads, due: tuple[Upload, ...]) -> int:
    """End them; returns how many. Raises StoreError."""
    for one in due:
        uploads.abort(one)
    return len(due)
