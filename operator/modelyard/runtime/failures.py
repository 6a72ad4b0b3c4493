"""What a failed reconcile means: whether the object's status must tell, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)

REJECTED_SECONDS = 30.0
"""First delay after a refusal that will most likely repeat."""


REASONS = frozenset({"NameTaken", "Forbidden", "Refused", "InternalError"})
"""Reasons of the Stalled conditions that the engine itself sets."""


class NotLeading(Exception):
    """The Lease is lost: nothing may be written."""


class Again(Exception):
    """What was observed is out of date: observe and decide again."""


class NameTaken(Exception):
    """A child's name belongs to an object of another owner."""


@dataclass(frozen=True)
class Failure:
    """A failure as the user and the queue see it."""

    result: str
    """Label of the metric."""
    reason: str = ""
    """Reason of the Stalled condition; empty if the status need not tell."""
    message: str = ""
    at_least: float = 0.0
    """Shortest delay before the next try, in seconds."""
    patience: int = 0
    """Failures in a row that are not worth telling yet."""
    unexpected: bool = False
    """A bug: the log gets a traceback."""


def classify(error: Exception) -> Failure:
    """What to make of an error raised by a reconcile."""
    if isinstance(error, Again | Conflict):
        return Failure("outdated")
    if isinstance(error, NameTaken):
        return Failure("name_taken", "NameTaken", str(error), patience=3)
    if isinstance(error, Unreachable | ServerError | TooManyRequests | Unauthorized):
        return Failure("unavailable", at_least=error.retry_after or 0.0)
    if isinstance(error, Forbidden):
        if "NamespaceTerminating" in error.causes:
            return Failure("terminating", at_least=REJECTED_SECONDS)
        message = f"the API server does not allow what is needed: {error.message}"
        return Failure("forbidden", "Forbidden", message, patience=1)
    if isinstance(error, Invalid):
        message = f"the API server refused what is needed: {error.message}"
        return Failure("refused", "Refused", message, at_least=REJECTED_SECONDS)
    if isinstance(error, ApiError):
        return Failure("unavailable", at_least=error.retry_after or 0.0)
    message = (
        f"the operator failed on this object ({type(error).__name__}: {error}); it tries again "
        "with growing delays. See the operator's log, and report it as a bug"
    )
    return Failure("bug", "InternalError", message, unexpected=True)
