"""Stores that misbehave as a test tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from modelyard.store import Store


class GatedStore(Store):
    """Counts downloads, and holds each one up between two pieces while its gate is closed."""

    def __init__(self, store: Store, *, closed: bool = False) -> None:
        super().__init__(store.keys.client, store.url, store.uploads)
        self.gate = threading.Event()
        if not closed:
            self.gate.set()
        self.waiting = threading.Event()
        """Set by a download that has come to the gate."""
        self.downloads: list[str] = []

    def get_file(
        self, digest: str, destination: Path, *, on_piece: Callable[[int], None] = lambda size: None
    ) -> Path:
        self.downloads.append(digest)

        def piece(size: int) -> None:
            self.waiting.set()
            assert self.gate.wait(10)
            on_piece(size)

        return super().get_file(digest, destination, on_piece=piece)
