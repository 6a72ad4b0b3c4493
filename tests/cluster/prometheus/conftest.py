"""A Prometheus that scrapes what the tests play; built once, which takes minutes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .pages import Page
from .server import Server, built


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """The metrics of servers."""
    made = Page()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus that scrapes them, not started yet."""
    built("prometheus", build=True)
    made = Server(tmp_path_factory.mktemp("prometheus"))
    made.scrape("servers", page.port, namespace="shop", pod="shelf-0")
    yield made
    made.stop()
    print(made.log.read_text()[-2000:] if made.log.exists() else "")
