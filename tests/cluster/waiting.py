"""Waiting for what a real cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CRDS = Path(__file__).parents[2] / "crds"


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


def until_discovered(kubectl: Callable[..., str]) -> None:
    """Wait until kubectl knows all our kinds; `kubectl` runs it with arguments and returns what it
    prints. `kubectl wait` would fail where a new CRD has no conditions yet."""
    names = {path.stem for path in CRDS.glob("*.yaml")}
    command = ("api-resources", "--api-group=modelyard.dev", "-o", "name")
    until(lambda: names <= set(kubectl(*command).split()), what="kubectl to know our kinds")
