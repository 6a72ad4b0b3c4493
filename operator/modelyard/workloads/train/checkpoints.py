"""Checkpoints of a training in the store, so that a new pod resumes where the last one stopped.

A pointer at `paths.checkpoint_key` names two blobs: `last.pt` (weights, optimizer, epoch) and
`best.pt` (the best epoch so far, which the new pod would otherwise lose). Blobs that a newer
pointer no longer names are deleted at once; they belong to this training alone, for they carry its
optimizer's state and time of writing.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.contract.paths import checkpoint_key
from modelyard.store import Store, StoreError, sha256_file

log = logging.getLogger("modelyard.train")

MIN_SECONDS = 30.0
"""Minimum time between two uploads: the maximum that a killed pod loses, besides its last epoch."""
UPLOAD_SHARE = 0.05
"""Maximum share of the training's time that uploads of large checkpoints may take."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stopped."""

    epoch: int
    """Finished epochs."""
    last: str
    """Digest of last.pt."""
    best: str
    """Digest of best.pt."""
    complete: bool = False
    """No epoch is left to train: only the result is missing."""
    initial_weights: str | None = None
    """Digest of the weights that the training started from."""

    def to_json(self) -> dict[str, Any]:
        """As stored in the pointer."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Checkpoint | None:
        """From the pointer; None if it is not one that this release can read."""
        try:
            return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})
        except TypeError:
            return None


@dataclass(frozen=True)
class _Saved:
    """A checkpoint on disk, with the files' stamps: a file that changed since is being written."""

    epoch: int
    last: Path
    best: Path
    complete: bool
    stamps: tuple[tuple[int, int], ...]


class Checkpoints:
    """The checkpoints of one run. A store that fails never stops the training."""

    def __init__(
        self,
        store: Store,
        run_key: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        min_seconds: float = MIN_SECONDS,
    ) -> None:
        self._store = store
        self._key = checkpoint_key(run_key)
        self._initial_weights: str | None = None
        self._clock = clock
        self._pause = self._min_pause = min_seconds
        self._uploaded_at = -math.inf
        self._pending: _Saved | None = None
        self._current: Checkpoint | None = None

    def load(self) -> Checkpoint | None:
        """The last checkpoint, if there is one. Raises StoreError."""
        pointer = self._store.get_pointer(self._key)
        self._current = Checkpoint.from_json(pointer) if pointer else None
        if self._current is not None:
            self._initial_weights = self._current.initial_weights
        return self._current

    def started_from(self, digest: str | None) -> None:
        """Digest of the weights that this training starts from; None from scratch."""
        self._initial_weights = digest

    def saved(self, epoch: int, last: Path, best: Path, *, complete: bool) -> None:
        """A checkpoint was written to disk; from now on it can be uploaded, also after SIGTERM."""
        self._pending = _Saved(epoch, last, best, complete, (_stamp(last), _stamp(best)))

    def upload_if_due(self) -> None:
        """Upload the latest checkpoint, unless the last upload was just now and epochs are left."""
        saved = self._pending
        due = self._clock() - self._uploaded_at >= self._pause
        if saved is not None and (saved.complete or due):
            self.flush()

    def flush(self) -> None:
        """Upload the latest checkpoint, if it has not been; a half-written one is left out."""
        saved, self._pending = self._pending, None
        if saved is None or saved.stamps != (_stamp(saved.last), _stamp(saved.best)):
            return
        start = self._clock()
        try:
            new = Checkpoint(
                epoch=saved.epoch,
                last=self._put(saved.last),
                best=self._put(saved.best),
                complete=saved.complete,
                initial_weights=self._initial_weights,
            )
            self._store.put_pointer(self._key, new.to_json())
        except (StoreError, OSError) as error:
            log.warning("checkpoint of epoch %d is not stored: %s", saved.epoch, error)
            return
        self._uploaded_at = self._clock()
        spent = self._uploaded_at - start
        self._pause = max(self._min_pause, spent / UPLOAD_SHARE)
        log.info("checkpoint of epoch %d stored in %.1f s", saved.epoch, spent)
        old, self._current = self._current, new
        self._delete(old, keep={new.last, new.best})

    def discard(self, *, keep: str) -> None:
        """The result is published, and has digest `keep`: the checkpoint serves no more."""
        old, self._current, self._pending = self._current, None, None
        if old is None:
            return
        try:
            self._store.delete_pointer(self._key)
        except StoreError as error:
            log.warning("the last checkpoint stays in the store: %s", error)
            return
        self._delete(old, keep={keep})

    def _put(self, path: Path) -> str:
        """Store a file, unless the pointer names its content already: the best epoch often stays
        the best for long."""
        digest, now = sha256_file(path), self._current
        if now is not None and digest in (now.last, now.best):
            return digest
        return self._store.put_file(path)

    def _delete(self, old: Checkpoint | None, keep: Collection[str]) -> None:
        for digest in {old.last, old.best}.difference(keep) if old else ():
            try:
                self._store.delete(digest)
            except StoreError as error:
                # The collector finds it later.
                log.warning("a superseded checkpoint stays in the store: %s", error)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (-1, -1)
    return stat.st_size, stat.st_mtime_ns
