"""Names and writes of the spool's files. A file appears whole or not at all, also when the power
fails."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelyard.contract.capture import CaptureReason
from modelyard.workloads.agent.capture.strata import Span

_OPEN = re.compile(r"^([rudo])-([0-9]+)-([0-9]+)-([0-9a-f]{16})-([0-9a-f]{12}-[0-9]{6,12})\.tar$")
_LETTERS = {reason.letter: reason for reason in CaptureReason}


@dataclass(frozen=True)
class SpooledName:
    """What the name of a file with one capture says."""

    reason: CaptureReason
    span: Span
    key: int
    id: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """None for anything else."""
        match = _OPEN.match(name)
        if match is None:
            return None
        letter, start, length, key, identifier = match.groups()
        return cls(_LETTERS[letter], Span(int(start), int(length)), int(key, 16), identifier)

    @property
    def name(self) -> str:
        """The file's name."""
        span = self.span
        return f"{self.reason.letter}-{span.start}-{span.length}-{self.key:016x}-{self.id}.tar"


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power failure. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
