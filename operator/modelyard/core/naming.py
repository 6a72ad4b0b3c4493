"""Deterministic names and hashes: the same owner and input give the same child."""

from __future__ import annotations

from modelyard.contract.naming import MAX_NAME, short_hash

__all__ = ["MAX_NAME", "child_name", "short_hash"]


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
