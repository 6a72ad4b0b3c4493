"""Waiting for what a real cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(
    check: Callable[[], Any], seconds: float = 60.0, what: str = "", *, pause: float = 0.05
) -> Any:
    """The first true answer of `check`; fails the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or check}"
        time.sleep(pause)
