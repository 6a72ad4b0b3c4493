"""One number, or words a person can act on: queries of a real Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from modelyard.runtime import prometheus as module
from modelyard.runtime.prometheus import Prometheus, QueryError
from modelyard_local.cluster.pki import Authority

from .pages import Does, Page
from .server import WINDOW, Server, built

# Prometheus may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
Number = Callable[[str], Awaitable[float]]
IMAGES = f'rate(modelyard_images_total{{model="shelf",version="2"}}[{WINDOW}])'
IDLE = f'sum(rate(modelyard_images_total{{model="idle"}}[{WINDOW}]))'
SLOW = f"count_over_time(({' + '.join(['vector(time())'] * 100)})[10d:1s])"
"""Much work in many short steps: between two of them Prometheus looks at the time."""
LOGIN = {"grafana": "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"}
"""A user of the example in Prometheus' documentation."""


@pytest.fixture(scope="module")
def asked(server: Server, page: Page) -> Server:
    """A Prometheus that has seen versions 1 and 2 of a busy line and one of an idle line."""
    page.loads("shelf", 1, Does())
    page.loads("shelf", 2, Does(images=40, failures=10))
    page.loads("idle", 1, Does(images=0))
    server.start()
    # A rate is too low as long as its window is not full.
    server.knows(f"sum({IMAGES}) > 34")
    return server


@pytest.fixture
async def number(asked: Server) -> AsyncIterator[Number]:
    prometheus = Prometheus(asked.url)
    yield prometheus.number
    await prometheus.close()


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("42", 42),
        ("scalar(vector(1.5))", 1.5),
        ('sum(up{job="servers"})', 1),
        (f"sum({IMAGES})", 40),
        ('count(modelyard_images_total{model="shelf",version="2"}) > 1', 2),
        ('absent(modelyard_images_total{version="no"})', 1),
    ],
)
async def test_a_number(number: Number, query: str, value: float) -> None:
    assert await number(query) == pytest.approx(value, rel=0.25)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param("sum(nothing_total)", "no series: nothing matches, or nothing", id="empty"),
        pytest.param(f"{IDLE} / {IDLE}", "gives NaN, as 0 / 0 does", id="nobody asked"),
        pytest.param(f"1 / {IDLE}", r"gives \+Inf, as a division by 0", id="infinite"),
        pytest.param(IMAGES, "2 series that differ by source, not one: aggregate", id="several"),
        pytest.param("modelyard_images_total[1m]", "range of values.*rate", id="range"),
        pytest.param('"a word"', "a string, not one number", id="string"),
        pytest.param(
            "histogram_quantile(0.95, sum(rate(modelyard_latency_bucket[1m])))",
            "no series.*bucket label .*le.* is missing",
            id="a quantile without le",
        ),
        pytest.param("sum(up", r"refuses the query: 1:7: parse error: unclosed", id="wrong"),
        pytest.param("summ(up)", 'refuses the query: .*unknown function.*"summ"', id="misspelt"),
        pytest.param('sum(up{version="{{x}}"', "refuses the query: .*unexpected", id="unclosed"),
        pytest.param(
            "modelyard_images_total / on(model) modelyard_failures_total",
            "refuses the query: found duplicate series for the match group",
            id="ambiguous",
        ),
    ],
)
async def test_words_a_person_can_act_on(number: Number, query: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        await number(query)


async def test_a_query_that_takes_too_long_is_given_up_by_prometheus_itself(
    asked: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SERVER_SECONDS", 1)
    prometheus = Prometheus(asked.url)
    with pytest.raises(QueryError, match="Prometheus has no answer: query timed out"):
        await prometheus.number(SLOW)
    await prometheus.close()


async def test_prometheus_that_is_frozen_and_away_and_back(
    asked: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 2.0)
    prometheus = Prometheus(asked.url)
    assert await prometheus.number("1") == 1
    asked.freeze()
    with pytest.raises(QueryError, match="did not answer within 2 s"):
        await prometheus.number("1")
    asked.thaw()
    assert await prometheus.number("1") == 1
    asked.stop()
    with pytest.raises(QueryError, match="cannot be asked: Cannot connect to host"):
        await prometheus.number("1")
    asked.start()
    # The connection of before is gone; nobody hears of it.
    assert await prometheus.number("2") == 2
    await prometheus.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus below a path that asks for a name and a password."""
    built("prometheus", build=True)
    made = Server(tmp_path_factory.mktemp("guarded"), prefix="/metrics-of-all", login=LOGIN)
    made.start()
    yield made
    made.stop()


async def test_who_is_not_let_in_is_told_what_to_set(guarded: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("not of this house")
    prometheus = Prometheus(guarded.url, token_file=str(token))
    with pytest.raises(QueryError, match=r"HTTP status 401.*prometheus\.tokenFile"):
        await prometheus.number("1")
    await prometheus.close()


async def test_an_address_without_a_prometheus_is_told(asked: Server) -> None:
    prometheus = Prometheus(f"{asked.url}/wrong")
    with pytest.raises(QueryError, match=r"no Prometheus.*HTTP status 404.*prometheus\.url"):
        await prometheus.number("1")
    await prometheus.close()


async def test_a_prometheus_below_a_path(tmp_path: Path) -> None:
    built("prometheus", build=True)
    below = Server(tmp_path, prefix="/prometheus")
    below.start()
    try:
        prometheus = Prometheus(f"{below.url}/")
        assert await prometheus.number("7") == 7
        await prometheus.close()
        above = Prometheus(below.url.removesuffix("/prometheus"))
        with pytest.raises(QueryError, match=r"no Prometheus.*HTTP status.*prometheus\.url"):
            await above.number("7")
        await above.close()
    finally:
        below.stop()


async def test_the_certificate_of_a_prometheus_is_checked_by_a_file_that_may_be_replaced(
    tmp_path: Path,
) -> None:
    built("prometheus", build=True)
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    certificate = authority.issue("prometheus", common_name="p", hosts=["127.0.0.1"])
    private = Server(tmp_path, certificate=certificate)
    private.start()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(other.pair.certificate.read_bytes())
    prometheus = Prometheus(private.url, ca_file=str(trusted))
    unknowing = Prometheus(private.url)
    try:
        for one in (prometheus, unknowing):
            with pytest.raises(QueryError, match=r"certificate.*see prometheus\.caFile"):
                await one.number("1")
        trusted.write_bytes(authority.pair.certificate.read_bytes())
        assert await prometheus.number("1") == 1
        trusted.unlink()
        with pytest.raises(QueryError, match=r"cannot be asked: .*No such file.*trusted"):
            await prometheus.number("1")
    finally:
        await prometheus.close()
        await unknowing.close()
        private.stop()
