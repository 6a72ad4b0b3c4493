"""Loads a version into Triton, and classifies what happened if Triton stops answering.

The version that is to serve (loader.py) and one that runs beside it (shadow.py) are loaded alike.
A Triton that no longer answers has either died, most likely of the version, or was only too slow:
the two are retried differently, see retry.py.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from modelyard.api.modelserver import Assignment
from modelyard.serving.triton import Triton, TritonUnavailableError
from modelyard.workloads.agent.failures import InterruptedLoadError, TritonCrashedError

T = TypeVar("T")


async def load(triton: Triton, assignment: Assignment, attempt: Awaitable[T], *, advice: str) -> T:
    """The result of `attempt`, which loads `assignment`; `advice` ends the message of a crash.

    Raises TritonCrashedError, InterruptedLoadError, and SwitchError as `attempt` does.
    """
    try:
        return await attempt
    except TritonUnavailableError as error:
        if await triton.ready():
            raise InterruptedLoadError(
                f"Triton was too slow while it loaded {assignment.model_version}: {error}"
            ) from error
        raise TritonCrashedError(
            f"Triton ended while it loaded {assignment.model_version}{advice}"
        ) from error
