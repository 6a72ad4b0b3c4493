"""A namespace's part of a real store, with objects that need some of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..data.conftest import pytest_collection_finish, s3, versitygw
from .part import Part

__all__ = ["pytest_collection_finish", "s3", "versitygw"]


@pytest.fixture(params=["directory", "versitygw"])
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Part]]:
    """Makes a part, each time anew."""
    count = 0

    def make() -> Part:
        nonlocal count
        count += 1
        if request.param == "directory":
            return Part.in_directory(tmp_path / str(count))
        server: Any = request.getfixturevalue("s3")
        return Part.on_server(server, f"part-{count}")

    return make
