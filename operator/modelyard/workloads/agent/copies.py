"""Copies of requests for a shadowed version: asked of Triton's pipeline, and taken out."""

from __future__ import annotations

import asyncio
import contextlib

from modelyard.serving.names import Generation
from modelyard.serving.spool import Sample, Spool


class Copies:
    """What is copied for one shadowed version after another."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._asked: tuple[float, Generation] | None = None
        """Share and generation that are copied now."""
        self._dropped = 0
        """Copies that were lost before the present ones were asked for."""

    async def begin(self) -> None:
        """Drops all that lies there, for another version, and counts anew."""
        await self.sweep()
        self._dropped = 0

    async def ask(self, share: float, generation: Generation) -> None:
        """Has a share of the requests copied that a generation answers. Raises OSError."""
        if self._asked != (share, generation):
            await asyncio.to_thread(self._spool.control, share, generation)
            self._asked = (share, generation)

    async def take(self) -> list[Sample]:
        """The next copies. Raises OSError."""
        return await asyncio.to_thread(self._spool.take)

    async def end(self) -> None:
        """Has nothing copied any more."""
        if self._asked is not None:
            self._dropped = self.dropped
            await self.sweep()

    async def sweep(self) -> None:
        """Ends copying and clears away what lies there."""
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
