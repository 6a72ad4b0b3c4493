"""Ordered policies: the first that has something to say decides (cert-manager's pattern)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Verdict(NamedTuple):
    """Why an object cannot go on, for programs (reason) and for people (message)."""

    reason: str
    message: str
    stalled: bool = False
    """True if only a person can change it; False if it is worth waiting."""
    phase: str = "Pending"


Policy = Callable[[T], Verdict | None]


def first_verdict(policies: Iterable[Policy[T]], observed: T) -> Verdict | None:
    """The verdict of the first policy that objects, or None if all agree."""
    for policy in policies:
        verdict = policy(observed)
        if verdict is not None:
            return verdict
    return None
