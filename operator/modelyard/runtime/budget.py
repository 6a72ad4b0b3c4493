"""The CPU time that one decision may take: an object that costs more harms only itself.

Decisions run in the event loop, where nothing else runs meanwhile. A thread would not help: they
read aggregates that events change. But they are pure (docs/architecture.md), so one can be ended at
any instruction without a trace. A timer of the process' CPU time does that; the clock on the wall
would also end decisions of a machine that is merely busy.

The bounds of the CRDs keep decisions to milliseconds. This is for what they do not foresee, and for
objects stored before there were bounds.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

AGAIN_SECONDS = 0.05
"""The timer repeats: Python drops an exception that is raised inside a finalizer."""


class OverBudget(Exception):
    """A decision was ended because it took too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the decision took more than {seconds:g} s of CPU time")


class _Expired(BaseException):
    """Passes through any `except Exception` of the decision."""


class Budget:
    """Ends a computation after a time. Needs the main thread, where Python handles signals; runs
    without a limit in others."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running = False
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            signal.signal(signal.SIGVTALRM, self._expire)

    def run(self, compute: Callable[[], T]) -> T:
        """The computation's result. It must be pure. Raises OverBudget, and what it raises."""
        if not self._active:
            return compute()
        try:
            self._running = True
            signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds, AGAIN_SECONDS)
            try:
                return compute()
            finally:
                # Before the timer is stopped: a signal that is already pending must do nothing.
                self._running = False
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except _Expired:
            self._running = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            raise OverBudget(self._seconds) from None

    def _expire(self, number: int, frame: FrameType | None) -> None:
        if self._running:
            raise _Expired
