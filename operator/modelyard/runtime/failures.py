"""What a failed reconcile means: the reason in the object's status, and the delay before a retry.

reconciler.py uses `classify`; the errors of the API server are in kube/errors.py.
"""

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
from modelyard.runtime.budget import OverBudget

REJECTED_SECONDS = 30.0
"""First delay after a rejection that most likely repeats."""
OVER_BUDGET_SECONDS = 60.0
"""First delay after a decision that took too long: with many such objects, too, the others come
first."""


REASONS = frozenset({"NameTaken", "Forbidden", "Refused", "DecisionTooLong", "InternalError"})
"""Reasons of the Stalled conditions that the engine itself sets."""


class NotLeading(Exception):
    """The Lease is lost, so nothing may be written."""


class Outdated(Exception):
    """The observed state is out of date: observe and decide again."""


class NameTaken(Exception):
    """A child's name is in use by an object of another owner."""


@dataclass(frozen=True)
class Failure:
    """How a failure is counted, shown and retried."""

    result: str
    """Label `result` of modelyard_reconciles_total."""
    reason: str = ""
    """Reason of the Stalled condition; empty to set none."""
    message: str = ""
    at_least: float = 0.0
    """Minimum delay before the next try, in seconds."""
    tolerated: int = 0
    """Consecutive failures before the Stalled condition is set."""
    unexpected: bool = False
    """Whether it is a bug, logged with a traceback."""


def classify(error: Exception) -> Failure:
    """The failure that an error raised by a reconcile stands for."""
    if isinstance(error, Outdated | Conflict):
        return Failure("outdated")
    if isinstance(error, NameTaken):
        return Failure("name_taken", "NameTaken", str(error), tolerated=3)
    if isinstance(error, Unreachable | ServerError | TooManyRequests | Unauthorized):
        return Failure("unavailable", at_least=error.retry_after or 0.0)
    if isinstance(error, Forbidden):
        if "NamespaceTerminating" in error.causes:
            return Failure("terminating", at_least=REJECTED_SECONDS)
        message = f"the API server does not allow what is needed: {error.message}"
        return Failure("forbidden", "Forbidden", message, tolerated=1)
    if isinstance(error, Invalid):
        message = f"the API server refused what is needed: {error.message}"
        return Failure("refused", "Refused", message, at_least=REJECTED_SECONDS)
    if isinstance(error, ApiError):
        return Failure("unavailable", at_least=error.retry_after or 0.0)
    if isinstance(error, OverBudget):
        message = (
            f"{error}, so the operator works on other objects first and tries again later: make "
            "the spec smaller, or report it as a bug if it is of a usual size"
        )
        return Failure("over_budget", "DecisionTooLong", message, at_least=OVER_BUDGET_SECONDS)
    message = (
        f"the operator failed on this object ({type(error).__name__}: {error}); it tries again "
        "with growing delays. See the operator's log, and report it as a bug"
    )
    return Failure("bug", "InternalError", message, unexpected=True)
