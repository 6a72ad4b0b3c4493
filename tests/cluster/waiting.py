"""Polling for tests with a real API server. The loop itself is in tests/waiting.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..waiting import until

__all__ = ["CRDS", "until", "until_discovered"]

CRDS = Path(__file__).parents[2] / "crds"


def until_discovered(kubectl: Callable[..., str]) -> None:
    """Wait until kubectl knows all our kinds. `kubectl` runs it with arguments and returns its
    output. `kubectl wait` would fail for a new CRD that has no conditions yet."""
    names = {path.stem for path in CRDS.glob("*.yaml")}
    command = ("api-resources", "--api-group=modelyard.dev", "-o", "name")
    until(lambda: names <= set(kubectl(*command).split()), what="kubectl to know our kinds")
