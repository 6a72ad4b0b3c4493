"""Exponential backoff with jitter for retries of objects whose reconcile fails (reconciler.py)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from modelyard.core.plan import Key

FIRST_SECONDS = 0.5
MAX_SECONDS = 300.0


class Backoff:
    """Consecutive failures of each key, and the delays that follow from them."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._failures: dict[Key, int] = {}
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret

    def __len__(self) -> int:
        return len(self._failures)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._failures)

    def failed(self, key: Key, at_least: float = 0.0) -> float:
        """Record a failure; returns the delay in seconds: doubled each time, plus up to a half."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** min(count - 1, 16))
        return max(at_least, delay) * self._rng.uniform(1.0, 1.5)

    def failures(self, key: Key) -> int:
        """Consecutive failures so far."""
        return self._failures.get(key, 0)

    def succeeded(self, key: Key) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Forget all failures."""
        self._failures.clear()
