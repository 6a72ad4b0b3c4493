"""Captures on the agent's disk, until the store has them.

    <cache>/captures/open/      the best sample so far of each span that goes on (strata.py)
    <cache>/captures/waiting/   of spans that are over, for the next file of the day
    <cache>/captures/upload/    files as the store will get them, under their final names
    <cache>/captures/state.json

Every move is a whole new file and then the removal of the old one, so a kill in between leaves both
with the same identifier, and `recover` removes the older. When the quota is reached, other captures
go before random ones, and these are thinned out evenly over the whole time instead of losing its
beginning or its end. Blocking; one process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from modelyard.api.monitoring import Redaction
from modelyard.contract.capture import (
    Captured,
    CaptureFile,
    CaptureReason,
    add_to,
    pack,
    unpack,
)
from modelyard.workloads.agent.capture import state as states
from modelyard.workloads.agent.capture.files import SpooledName, sync_folder, write_bytes
from modelyard.workloads.agent.capture.redaction import covers
from modelyard.workloads.agent.capture.strata import Span

QUOTA_BYTES = 256 * 1024 * 1024
BUNDLE_BYTES = 64 * 1024 * 1024
"""A bundle is closed from this size on."""
_MAX_HALVINGS = 40
_FOLDERS = ("open", "waiting", "upload")
_DROP_ORDER = (CaptureReason.UNCERTAIN, CaptureReason.DRIFTING, CaptureReason.ON_DEMAND)


class CaptureSpool:
    """The folder of one server."""

    def __init__(self, folder: Path, quota: int = QUOTA_BYTES) -> None:
        """`quota` is in bytes. Raises OSError."""
        self.folder = folder
        self._quota = quota
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.state = states.load(folder)
        self._recover()

    def save(self) -> None:
        """Writes the state. Raises OSError."""
        states.save(self.folder, self.state)

    def best(self, reason: CaptureReason, span: Span) -> SpooledName | None:
        """The sample that a span keeps so far."""
        found = [one for one in self.open() if (one.reason, one.span) == (reason, span)]
        return min(found, key=lambda one: one.key, default=None)

    def open(self) -> list[SpooledName]:
        """Kept samples of spans that are not closed."""
        return self._names("open")

    @property
    def waiting(self) -> int:
        """Captures that the store does not have yet."""
        names = (CaptureFile.parse(path.name) for path in self.uploads())
        return len(self._names("waiting")) + sum(one.total for one in names if one is not None)

    def keep(self, name: SpooledName, capture: Captured) -> None:
        """Keeps a sample in place of the one that its span had. Raises OSError."""
        before = self.best(name.reason, name.span)
        write_bytes(self.folder / "open" / name.name, pack([capture]))
        if before is not None:
            (self.folder / "open" / before.name).unlink(missing_ok=True)
        self._make_room()

    def close(self, name: SpooledName, update: Callable[[Captured], Captured]) -> Captured | None:
        """Ends a span: its sample, updated, waits for the day's file; returned instead if it is
        urgent, and then still open. Raises OSError."""
        path = self.folder / "open" / name.name
        capture = _read_one(path)
        if capture is None:
            path.unlink(missing_ok=True)
            return None
        capture = update(capture)
        if name.reason.urgent:
            return capture
        if self._survives(name):
            write_bytes(self.folder / "waiting" / name.name, pack([capture]))
            path.unlink(missing_ok=True)
        else:
            self._drop(path)
        return None

    def discard(self, name: SpooledName) -> None:
        """Removes an open sample that has gone another way."""
        (self.folder / "open" / name.name).unlink(missing_ok=True)

    def urgent(self, file: CaptureFile, capture: Captured) -> None:
        """Puts one capture up for upload by itself. Raises OSError."""
        write_bytes(self.folder / "upload" / file.name, pack([capture]))
        self._make_room()

    def bundle(self, name: Callable[[dict[CaptureReason, int]], CaptureFile]) -> Path | None:
        """Puts waiting captures into one file for upload; None if there are none. `name` names a
        file by its counts. Raises OSError."""
        members: list[SpooledName] = []
        size = 0
        for one in sorted(self._names("waiting"), key=lambda one: one.span):
            if size >= BUNDLE_BYTES:
                break
            size += (self.folder / "waiting" / one.name).stat().st_size
            members.append(one)
        counts: dict[CaptureReason, int] = {}
        part = self.folder / ".bundle"
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
            for one in members:
                capture = _read_one(self.folder / "waiting" / one.name)
                if capture is None:
                    continue
                counts[one.reason] = counts.get(one.reason, 0) + 1
                add_to(archive, self._weighted(capture))
        if not counts:
            part.unlink(missing_ok=True)
            self._remove("waiting", members)
            return None
        target = self.folder / "upload" / name(counts).name
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        sync_folder(target.parent)
        # From here on the bundle counts: `recover` removes members that are left.
        self._remove("waiting", members)
        if not self._names("waiting"):
            self.state.halvings = 0
        return target

    def uploads(self) -> list[Path]:
        """Files for the store, the oldest first."""
        paths = (self.folder / "upload").iterdir()
        return sorted(path for path in paths if CaptureFile.parse(path.name) is not None)

    def stored(self, path: Path) -> None:
        """A file is in the store. Raises OSError."""
        file = CaptureFile.parse(path.name)
        path.unlink(missing_ok=True)
        self.state.stored += file.total if file else 0
        self.save()

    def comply(self, policy: Redaction) -> None:
        """Drops what an earlier, laxer policy of redaction left. Raises OSError."""
        if self.state.policy == policy:
            return
        for path in self._paths():
            try:
                kept = all(covers(one.record.redaction, policy) for one in _read(path))
            except ValueError:
                kept = False
            if not kept:
                self._drop(path)
        self.state.policy = policy
        self.save()

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self._paths())

    def _make_room(self) -> None:
        excess = self.size() - self._quota
        for reason in _DROP_ORDER:
            for path in self._of(reason):
                if excess <= 0:
                    return
                excess -= path.stat().st_size
                self._drop(path)
        while excess > 0 and self.state.halvings < _MAX_HALVINGS:
            names = self._names("waiting")
            if not names:
                return
            self.state.halvings += 1
            self.save()  # first: what is left must know for how many it stands
            for one in names:
                if not self._survives(one):
                    path = self.folder / "waiting" / one.name
                    excess -= path.stat().st_size
                    self._drop(path)

    def _of(self, reason: CaptureReason) -> list[Path]:
        """Files that hold captures of this reason alone, the oldest first."""
        waiting = [one for one in self._names("waiting") if one.reason is reason]
        paths = [self.folder / "waiting" / one.name for one in sorted(waiting, key=_by_span)]
        for path in self.uploads():
            file = CaptureFile.parse(path.name)
            if file is not None and set(file.counts) == {reason}:
                paths.append(path)
        return paths

    def _survives(self, one: SpooledName) -> bool:
        """Whether a random capture is among those that the halvings leave; all of the whole time
        have the same chance, also those that come later."""
        if one.reason is not CaptureReason.RANDOM:
            return True
        chance = int.from_bytes(hashlib.sha256(one.id.encode()).digest()[:8], "big")
        return chance >> (64 - self.state.halvings) == 0

    def _weighted(self, capture: Captured) -> Captured:
        factor = 2**self.state.halvings
        record = capture.record
        if factor == 1 or record.reason is not CaptureReason.RANDOM or record.inclusion is None:
            return capture
        inclusion = record.inclusion
        weight = inclusion.weight * factor
        changed = inclusion.model_copy(update={"thinned": factor, "weight": weight})
        return Captured(record.model_copy(update={"inclusion": changed}), capture.image)

    def _recover(self) -> None:
        """Removes what a killed agent left half done."""
        for path in self._paths(every=True):
            if path.name.startswith("."):
                path.unlink(missing_ok=True)
        (self.folder / ".bundle").unlink(missing_ok=True)
        sent: set[str] = set()
        for path in self.uploads():
            with contextlib.suppress(ValueError):
                sent |= {one.record.id for one in _read(path)}
        waiting = {one.id for one in self._names("waiting")}
        self._remove("waiting", [one for one in self._names("waiting") if one.id in sent])
        self._remove("open", [one for one in self.open() if one.id in sent | waiting])
        for one in self.open():
            best = self.best(one.reason, one.span)
            if best is not None and best.id != one.id:
                self.discard(one)
        for one in self._names("waiting"):
            if not self._survives(one):
                self._drop(self.folder / "waiting" / one.name)

    def _names(self, folder: str) -> list[SpooledName]:
        paths = (self.folder / folder).iterdir()
        return [name for path in paths if (name := SpooledName.parse(path.name)) is not None]

    def _paths(self, *, every: bool = False) -> list[Path]:
        paths = [path for name in _FOLDERS for path in (self.folder / name).iterdir()]
        return [path for path in paths if every or not path.name.startswith(".")]

    def _remove(self, folder: str, names: list[SpooledName]) -> None:
        for one in names:
            (self.folder / folder / one.name).unlink(missing_ok=True)

    def _drop(self, path: Path) -> None:
        file = CaptureFile.parse(path.name)
        path.unlink(missing_ok=True)
        self.state.dropped += file.total if file else 1


def _by_span(one: SpooledName) -> Span:
    return one.span


def _read(path: Path) -> Iterator[Captured]:
    """Raises ValueError for a damaged file."""
    with path.open("rb") as file:
        yield from unpack(file)


def _read_one(path: Path) -> Captured | None:
    """The one capture of a file; None for a damaged or missing one."""
    try:
        return next(_read(path), None)
    except (ValueError, FileNotFoundError):
        return None
