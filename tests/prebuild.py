"""What tests need is built before the first of them runs: in a fixture, the minutes that this takes
once would count against the time that one test may take.

Called from `pytest_collection_finish`, because `pytest_sessionstart` is not heard by the conftest
of a folder below the one that pytest is given.
"""

from __future__ import annotations

import pytest


def distributes(session: pytest.Session) -> bool:
    """Whether this process only sends tests to workers: it collects none, and what workers print
    is not shown."""
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return False
    return bool(session.config.getoption("dist", "no") != "no")


def wanted(session: pytest.Session, *fixtures: str) -> bool:
    """Whether a test that is about to run uses one of these fixtures."""
    if session.config.option.collectonly:
        return False
    return any(not set(fixtures).isdisjoint(getattr(i, "fixturenames", ())) for i in session.items)


def say(line: str) -> None:
    """Progress of a build."""
    print(line, flush=True)
