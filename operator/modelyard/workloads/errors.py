"""Expected failures of workloads: user errors and retryable ones. runner.py turns them into an
Outcome.
`reason` is one CamelCase word and becomes a condition's reason; `message` says what happened, to
which object, and what to do.
"""

from __future__ import annotations


class WorkloadError(Exception):
    """Base: an expected failure with a reason and a message for users."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class UserError(WorkloadError):
    """The user's data or settings are wrong; trying again cannot help."""


class RetryableError(WorkloadError):
    """The store, the network or the node failed; trying again may help."""


class StageFailed(Exception):
    """An earlier stage of the pod failed, with this reason, message and exit code."""

    def __init__(self, reason: str, message: str, code: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = code


class Terminated(BaseException):
    """The pod was asked to stop (SIGTERM). No Exception, so that no library swallows it."""
