"""Queries of documentation and examples, asked of a real Prometheus about played servers. A real
Triton's page is asked the same in tests/serving/test_scraped.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from modelyard.core.deployment.autoscaling import QUEUE_METRIC, REQUESTS_METRIC

from ..waiting import until
from .documented import filled, of_examples, of_operations, of_the_adapter
from .pages import Does, Page, computing
from .server import Server

# Prometheus may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
WORDS = {"modelLine": "shelf", "candidate": "2", "stable": "1", "deployment": "shelf"}
GOOD, BAD = 1, 2


@pytest.fixture(scope="module")
def complaints() -> Iterator[Counter]:
    """A metric of the shop's own, as the example has."""
    registry = CollectorRegistry()
    counter = Counter("shop_complaints", "Of customers.", ["model", "version"], registry=registry)
    http, thread = start_http_server(0, "127.0.0.1", registry)
    counter.port = http.server_address[1]
    yield counter
    http.shutdown()
    thread.join(10)


@pytest.fixture(scope="module")
def asked(server: Server, page: Page, complaints: Counter) -> Server:
    server.scrape("shop", complaints.port)
    page.loads("shelf", GOOD, Does(images=50, milliseconds=12, queue_milliseconds=3))
    page.loads("shelf", BAD, Does(images=40, failures=10, milliseconds=90, queue_milliseconds=30))
    server.start()
    # A rate is too low as long as its window is not full.
    server.knows(filled('sum(rate(modelyard_images_total{model="shelf",version="2"}[1m])) > 34'))
    return server


def only(server: Server, query: str) -> float:
    """The value of a query that gives one number."""
    ((_, value),) = server.vector(query)
    return value


def test_the_figures_of_operations(asked: Server) -> None:
    by_version, slow, errors = of_operations()
    found = {labels["version"]: value for labels, value in asked.vector(filled(by_version))}
    assert found == {
        "1": pytest.approx(50, rel=0.25),
        "2": pytest.approx(40, rel=0.25),
    }
    for version, milliseconds, share in (("1", (10, 14), 0.0), ("2", (80, 110), 0.25)):
        words = WORDS | {"candidate": version}
        low, high = milliseconds
        assert low < only(asked, filled(slow, **words)) <= high
        assert only(asked, filled(errors, **words)) == pytest.approx(share, abs=0.02)


def test_the_adapter_of_serving_counts_each_request_once(asked: Server) -> None:
    rules = of_the_adapter("shop", "shelf-0")
    for series, _ in rules.values():
        found = {labels["model"] for labels, _ in asked.vector(series)}
        assert {computing("shelf", number) for number in (GOOD, BAD)} <= found
        assert all(name.endswith(("-network", "-pipeline")) for name in found)
    lines = 'model=~"shelf-.*"'
    figures = {
        name: only(asked, query.replace('model=~".+-[0-9]', f'{lines},model=~".+-[0-9]'))
        for name, (_, query) in rules.items()
    }
    # Of 90 requests a second, 50 wait 3 ms and 40 wait 30 ms.
    assert figures[REQUESTS_METRIC] == pytest.approx(90, rel=0.25)
    assert figures[QUEUE_METRIC] == pytest.approx((50 * 3 + 40 * 30) / 90, rel=0.25)


def test_the_example_is_good_while_nobody_complains_and_then_counts(
    asked: Server, complaints: Counter
) -> None:
    (template,) = of_examples().values()
    query = filled(template, **WORDS)
    assert only(asked, query) == 0
    counter = complaints.labels("shelf", "2")

    def complained() -> bool:
        counter.inc()
        return only(asked, query) > 0.1

    until(complained, 30, "complaints to count", pause=0.3)
    assert (
        only(asked, filled(next(iter(of_examples().values())), **WORDS | {"candidate": "3"})) == 0
    )
