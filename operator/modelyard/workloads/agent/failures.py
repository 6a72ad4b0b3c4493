"""Classifies errors of a load: reason and message for the status, and how soon to retry."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from modelyard.serving.switch import SwitchError
from modelyard.store import StoreError
from modelyard.workloads.agent.artifacts import ManifestError, QuotaError
from modelyard.workloads.agent.retry import Cause
from modelyard.workloads.agent.status import Reason
from modelyard.workloads.runner import classify

_STAGES = {
    "write": Reason.UNSERVABLE,
    "load": Reason.LOAD_FAILED,
    "warm-up": Reason.WARM_UP_FAILED,
    "switch": Reason.SWITCH_FAILED,
}
_PASSING = {Reason.STORE_UNAVAILABLE, Reason.BUCKET_MISSING, Reason.TRITON_UNAVAILABLE}


@dataclass(frozen=True)
class Failure:
    """One failed try."""

    reason: Reason
    message: str
    cause: Cause

    @property
    def passing(self) -> bool:
        """Whether it is likely to be over soon, by itself."""
        return self.reason in _PASSING


class TritonCrashedError(Exception):
    """Triton ended while it was loading a version."""


class InterruptedLoadError(Exception):
    """Triton did not answer in time while it was loading a version, but goes on."""


def failure(error: Exception) -> Failure:
    """The failure that an error stands for; unknown errors are bugs of ours."""
    if isinstance(error, SwitchError):
        reason = _STAGES[error.stage]
        if isinstance(error.__cause__, OSError):
            reason = Reason.NO_SPACE
        return Failure(reason, str(error), Cause.LOAD)
    if isinstance(error, TritonCrashedError):
        return Failure(Reason.TRITON_CRASHED, str(error), Cause.CRASH)
    if isinstance(error, InterruptedLoadError):
        return Failure(Reason.TRITON_UNAVAILABLE, str(error), Cause.FETCH)
    if isinstance(error, ManifestError):
        return Failure(Reason.MANIFEST_INVALID, str(error), Cause.LOAD)
    if isinstance(error, QuotaError):
        return Failure(Reason.NO_SPACE, str(error), Cause.LOAD)
    if isinstance(error, StoreError):
        outcome, _ = classify(error)
        return Failure(Reason(outcome.reason), outcome.message, Cause.FETCH)
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "the cache's volume needs more space" if full else "is its volume writable?"
        return Failure(Reason.NO_SPACE, f"the artifact cannot be kept: {error}; {hint}", Cause.LOAD)
    return Failure(
        Reason.INTERNAL_ERROR,
        f"this is a bug in Modelyard ({type(error).__name__}: {error}); see the agent's log",
        Cause.LOAD,
    )
