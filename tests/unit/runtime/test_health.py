"""When /healthz turns red, and when it must not."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.runtime.health import problems


def engine(**changes: Any) -> Any:
    """A leading engine that is well, but for the changes."""
    now = time.monotonic()
    state = {
        "answered": now,
        "oldest": 0.0,
        "expired": [],
        "refused": [],
        "resync": now,
        "leading": True,
        "synced": True,
    } | changes
    return SimpleNamespace(
        leadership=SimpleNamespace(last_answer=state["answered"]),
        queue=SimpleNamespace(oldest=lambda: state["oldest"]),
        watches=SimpleNamespace(
            expired=lambda _: state["expired"], problems=lambda: state["refused"]
        ),
        last_resync=state["resync"],
        leading=state["leading"],
        synced=state["synced"],
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"oldest": 200.0}, "reconciling has stopped", id="stuck queue"),
        pytest.param({"expired": ["Job"]}, "the watch of Job", id="dead watch"),
        pytest.param({"resync": time.monotonic() - 5000}, "no resync", id="no resync"),
        pytest.param(
            {"synced": False, "resync": time.monotonic() - 1000}, "first list", id="never synced"
        ),
    ],
)
def test_red(changes: dict[str, Any], word: str) -> None:
    found = problems(engine(**changes), stalled_seconds=120, resync_seconds=600)
    assert word in " ".join(found)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="well"),
        pytest.param({"oldest": 60.0}, id="busy"),
        pytest.param({"refused": ["no CRD"], "resync": 0.0, "synced": False}, id="refused"),
        pytest.param({"leading": False, "oldest": 999.0, "resync": 0.0}, id="standing by"),
        pytest.param({"answered": time.monotonic() - 300, "oldest": 999.0}, id="API server away"),
    ],
)
def test_green(changes: dict[str, Any]) -> None:
    assert problems(engine(**changes), stalled_seconds=120, resync_seconds=600) == []
