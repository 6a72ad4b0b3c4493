"""Coverage is that of examples: property-based tests run outside of it.

They visit a line by chance, which proves nothing about it; and tracing would make them, two thirds
of these tests' time, nearly three times as slow.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)  # Hypothesis marks its tests in this hook too.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.no_cover)
