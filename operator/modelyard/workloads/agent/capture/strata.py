"""Which sample of a span of time is kept: the one with the smallest key.

A budget of n images a day cuts the day (UTC) into n spans, each of which keeps one image. The key
of a random capture is a random number, so each sample of a span is kept with the same probability,
however many come: bottom-k sampling with k = 1. Unlike a reservoir that counts, it needs no state
but the kept image's own key, so a killed agent goes on without a bias.

Keeping a fixed share of a stream instead would spend the day's budget at night: 0.1 % of 30 images
a second are 200 before two in the morning.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000
KEYS = 1 << 64
"""Keys are below this."""


@dataclass(frozen=True, order=True)
class Span:
    """A span of time of which one image is kept; times in milliseconds since 1970."""

    start: int
    length: int

    @classmethod
    def at(cls, time: float, per_day: int) -> Span:
        """The span of a moment, in seconds since 1970, at a budget of so many images a day."""
        length = max(1, DAY_MS // per_day)
        now = int(time * 1000)
        # Counted from midnight: the last span of a day takes what the division leaves.
        into = now % DAY_MS
        index = min(into // length, per_day - 1)
        start = now - into + index * length
        last = index == per_day - 1
        return cls(start, DAY_MS - index * length if last else length)

    @property
    def end(self) -> int:
        """The first moment after it."""
        return self.start + self.length

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.length / 1000


@dataclass(frozen=True)
class Tally:
    """What happened in a span so far."""

    samples: int = 0
    """Samples that could have been kept."""
    alike: int = 0
    """Samples that look like the kept one, beside itself."""
