"""Copies of requests for a shadowed version: turns copying in Triton's pipeline on and off, and
reads the copies."""

from __future__ import annotations

import asyncio
import contextlib

from modelyard.serving.names import Generation
from modelyard.serving.spool import Sample, Spool


class Copies:
    """The copies of the version that is shadowed now."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._asked: tuple[float, Generation] | None = None
        """Share and generation that are copied now."""
        self._dropped = 0
        """Copies that were lost before the present share was set."""

    async def begin(self) -> None:
        """Discard copies of an earlier version and reset the count."""
        await self.sweep()
        self._dropped = 0

    async def ask(self, share: float, generation: Generation) -> None:
        """Copy a share (0 to 1) of the requests that a generation answers. Raises OSError."""
        if self._asked != (share, generation):
            await asyncio.to_thread(self._spool.control, share, generation)
            self._asked = (share, generation)

    async def take(self) -> list[Sample]:
        """The next copies. Raises OSError."""
        return await asyncio.to_thread(self._spool.take)

    async def end(self) -> None:
        """Stop copying."""
        if self._asked is not None:
            self._dropped = self.dropped
            await self.sweep()

    async def sweep(self) -> None:
        """Stop copying and discard what was copied."""
        self._asked = None
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._spool.off)

    @property
    def dropped(self) -> int:
        """Copies that were lost since `begin`."""
        try:
            return self._dropped + self._spool.dropped
        except OSError:
            return self._dropped
