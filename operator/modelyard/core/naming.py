"""Deterministic names and hashes: the same owner and input give the same child."""

from __future__ import annotations

import hashlib
import json
from typing import Any

MAX_NAME = 63
"""Job, Service and pod names end up in labels and host names: 63 characters."""


def short_hash(*parts: Any, length: int = 8) -> str:
    """Hexadecimal digits over the canonical JSON of the parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def child_name(owner: str, *suffixes: str) -> str:
    """`owner-suffix-…` of at most 63 characters; a long owner is cut and made unique by a hash.

    Dots, legal in an object's name but not in a Service's or a pod's host name, become dashes.
    """
    base = owner.replace(".", "-")
    tail = "".join(f"-{s}" for s in suffixes if s)
    if base != owner or len(base) + len(tail) > MAX_NAME:
        mark = f"-{short_hash(owner, length=6)}"
        base = base[: MAX_NAME - len(tail) - len(mark)].rstrip("-") + mark
    return base + tail
