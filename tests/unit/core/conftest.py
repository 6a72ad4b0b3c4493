"""A failing test prints the transcripts of the worlds that it made."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .sim import LATEST


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    LATEST.clear()
    try:
        return (yield)
    except Exception as error:
        for sim in LATEST:
            if not any("What happened:" in note for note in getattr(error, "__notes__", ())):
                sim.explain(error)
        raise
