"""Captured images in a part: how many there are, and which have outlived their retention.

A file of captures (contract/capture.py) is kept for as long as its Deployment's
monitoring.capture.retention says, counted from when it was stored, by the store's clock; that of a
Deployment that is gone, or captures no more, for the default. A file that an object or a needed
index mentions by its key stays: a dataset was made of it.

Unlike blobs, these files say by themselves when they are due, so they go whether or not the
collector may delete what nothing needs: somebody declared a retention, and relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.api.monitoring import Capture, long_duration_seconds
from modelyard.contract.capture import CAPTURES, CaptureFile
from modelyard.store.keys import Entry

MENTION = re.compile(r"captures/[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}/[0-9a-z-]{20,80}\.tar")
"""A file's key, wherever it is mentioned."""
DEFAULT_RETENTION = timedelta(seconds=long_duration_seconds(Capture().retention))


@dataclass(frozen=True)
class Found:
    """What a part holds."""

    images: int
    bytes: int
    expired: tuple[Entry, ...]


def find(
    entries: Iterable[Entry],
    retentions: Mapping[str, timedelta],
    mentioned: Collection[str],
    now: datetime,
) -> Found:
    """Among a part's entries; `retentions` are those of its Deployments, by name."""
    images = size = 0
    expired: list[Entry] = []
    for one in entries:
        if not one.key.startswith(CAPTURES):
            continue
        deployment, _, rest = one.key.removeprefix(CAPTURES).partition("/")
        file = CaptureFile.parse(rest.rpartition("/")[2])
        if file is None:
            continue  # not ours: somebody put it there
        images += file.total
        size += one.size
        kept = retentions.get(deployment, DEFAULT_RETENTION)
        if one.modified < now - kept and one.key not in mentioned:
            expired.append(one)
    return Found(images, size, tuple(expired))


def retention_of(deployment: Mapping[str, object]) -> timedelta | None:
    """That of a Modelyard Deployment as the API server has it; None if it captures nothing."""
    found: object = deployment
    for field in ("spec", "monitoring", "capture"):
        found = found.get(field) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    text = found.get("retention") or Capture().retention
    return timedelta(seconds=long_duration_seconds(str(text)))
