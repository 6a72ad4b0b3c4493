"""How much each server may store: a bucket of tokens for requests, one for bytes. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MAX_SERVERS = 100_000
"""Servers that are remembered; those that asked longest ago are forgotten."""


@dataclass
class _Bucket:
    level: float
    time: float


class Limit:
    """So much in a span of time, per server; after a pause, all of it at once."""

    def __init__(self, amount: float, seconds: float) -> None:
        self._amount = amount
        self._rate = amount / seconds
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, who: str, amount: float, now: float) -> float:
        """Takes an amount; returns 0, or the seconds after which it would be granted. What is more
        than the whole limit is granted when the bucket is full."""
        bucket = self._buckets.pop(who, None) or _Bucket(self._amount, now)
        bucket.level = min(self._amount, bucket.level + (now - bucket.time) * self._rate)
        bucket.time = now
        self._buckets[who] = bucket
        if len(self._buckets) > MAX_SERVERS:
            self._buckets.popitem(last=False)
        missing = min(amount, self._amount) - bucket.level
        if missing > 1e-9:
            return missing / self._rate
        bucket.level -= amount
        return 0.0
