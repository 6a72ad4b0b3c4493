"""How much a source may hold: what keeps an archive from filling the node."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from modelyard.contract import paths
from modelyard.workloads.errors import UserError

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Limits:
    """Bounds on one source."""

    download_bytes: int = 512 * GIB
    """Bytes to fetch."""
    unpacked_bytes: int = 1024 * GIB
    """Bytes of all files of an archive together."""
    files: int = 5_000_000
    """Files and links of an archive."""
    ratio: float = 100.0
    """Unpacked bytes per archive byte; images hardly compress, a zip bomb does a thousandfold."""
    ratio_floor: int = GIB
    """Unpacked bytes below which the ratio does not count: blank test images compress well."""

    def within(self, directory: Path) -> Self:
        """The same limits, and no more than the file system of `directory` has free."""
        free = shutil.disk_usage(directory).free
        limit = os.environ.get(paths.DISK_LIMIT_VARIABLE, "")
        if limit.isdigit():
            # The kubelet evicts a pod that takes more, without a word about what was too much.
            free = min(free, int(limit))
        return replace(
            self,
            download_bytes=min(self.download_bytes, free),
            unpacked_bytes=min(self.unpacked_bytes, free),
        )

    def check_download(self, size: int, label: str) -> None:
        """Raises UserError where that many bytes of what `label` names are too many."""
        if size > self.download_bytes:
            raise UserError(
                "SourceTooLarge",
                f"{label} is larger than {human(self.download_bytes)}, the pod's "
                "resources.ephemeralStorage or the free space of the node's disk",
            )

    @classmethod
    def of_shard(cls, size: int) -> Self:
        """For an uncompressed tar of ours: it cannot hold more than its own size."""
        return cls(unpacked_bytes=size, ratio=1.0)


def human(size: float) -> str:
    """A size for people: 1536 is `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
