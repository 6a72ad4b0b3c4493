"""What becomes of queries: who is woken, what is asked again, and what is no number. Against a
real HTTP server that answers as Prometheus does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelyard.core.plan import Key, MetricQuery
from modelyard.runtime import metric_queries as module
from modelyard.runtime.metric_queries import MetricQueries
from modelyard.runtime.prometheus import Prometheus, QueryError

KEY, OTHER = Key("Deployment", "shop", "a"), Key("Deployment", "shop", "b")
ANCIENT = datetime(2020, 1, 1, tzinfo=UTC)


class Server:
    """Answers queries with what the test has put into `answers`; notes who asks."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.most = self.now = 0
        self._news = asyncio.Event()
        self.url = ""

    async def query(self, request: web.Request) -> web.StreamResponse:
        query = request.query["query"]
        self.asked.append(query)
        self.tokens.append(request.headers.get("Authorization"))
        self.now += 1
        self.most = max(self.most, self.now)
        self._news.set()
        await self.go_on.wait()
        self.now -= 1
        answer = self.answers.get(query, scalar("1"))
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    async def reached(self, count: int) -> None:
        """Return when so many queries wait for their answer."""
        async with asyncio.timeout(10):
            while self.now < count:
                self._news.clear()
                await self._news.wait()


def success(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def scalar(value: str) -> dict[str, Any]:
    return success("scalar", [1.5, value])


def vector(*values: str) -> dict[str, Any]:
    return success("vector", [{"metric": {"pod": v}, "value": [1.5, v]} for v in values])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_get("/prometheus/api/v1/query", made.query)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/prometheus/"
    yield made
    made.go_on.set()
    await runner.cleanup()


class Asker:
    """MetricQueries with a clock that the test moves, and who was woken."""

    def __init__(self, prometheus: Prometheus | None) -> None:
        self.clock = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.woken: list[tuple[Key, float]] = []
        self.results: list[str] = []
        self._quiet = asyncio.Event()
        self.queries = MetricQueries(
            prometheus,
            wake=self._wake,
            on_query=lambda result, seconds: self.results.append(result),
            now=lambda: self.clock,
        )

    def _wake(self, key: Key, delay: float) -> None:
        self.woken.append((key, delay))
        if not len(self.queries):
            self._quiet.set()

    def ask(self, key: Key, *queries: str, at_least: datetime = ANCIENT) -> None:
        self._quiet.clear()
        self.queries.ask(key, [MetricQuery(query, at_least) for query in queries])

    async def answered(self) -> None:
        """Return when nothing is under way any more."""
        async with asyncio.timeout(10):
            await self._quiet.wait()


@pytest.fixture
async def asker(server: Server) -> AsyncIterator[Asker]:
    made = Asker(Prometheus(server.url))
    yield made
    await made.queries.close()


async def test_an_answer_wakes_who_asked(server: Server, asker: Asker) -> None:
    server.answers["up"] = vector("0.25")
    assert asker.queries.answer("up") is None
    asker.ask(KEY, "up")
    await asker.answered()
    found = asker.queries.answer("up")
    assert found == (0.25, "", asker.clock)
    assert asker.woken == [(KEY, 0.0)]
    assert asker.results == ["number"]


async def test_a_query_under_way_is_not_asked_again(server: Server, asker: Asker) -> None:
    server.go_on.clear()
    asker.ask(KEY, "up")
    asker.ask(OTHER, "up")
    server.go_on.set()
    await asker.answered()
    assert server.asked == ["up"]
    assert sorted(key for key, _ in asker.woken) == [KEY, OTHER]


async def test_an_answer_that_is_young_enough_is_not_asked_again(
    server: Server, asker: Asker
) -> None:
    asker.ask(KEY, "up", at_least=asker.clock)
    await asker.answered()
    asker.ask(OTHER, "up", at_least=asker.clock)
    asker.clock += timedelta(seconds=30)
    asker.ask(OTHER, "up", at_least=asker.clock - timedelta(seconds=30))
    assert len(asker.queries) == 0
    assert server.asked == ["up"]
    asker.ask(OTHER, "up", at_least=asker.clock)
    await asker.answered()
    assert server.asked == ["up", "up"]
    assert asker.woken == [(KEY, 0.0), (OTHER, 0.0)]


async def test_nothing_is_asked_before_its_time(server: Server, asker: Asker) -> None:
    asker.ask(KEY, "up", at_least=asker.clock + timedelta(seconds=20))
    assert asker.woken == [(KEY, 20.0)]
    assert len(asker.queries) == 0


async def test_a_query_rests_between_two_times(server: Server, asker: Asker) -> None:
    asker.ask(KEY, "up", at_least=asker.clock)
    await asker.answered()
    asker.clock += timedelta(seconds=0.25)
    asker.ask(KEY, "up", at_least=asker.clock)
    assert asker.woken == [(KEY, 0.0), (KEY, 0.75)]
    assert server.asked == ["up"]


async def test_only_some_are_asked_at_the_same_time(server: Server, asker: Asker) -> None:
    server.go_on.clear()
    asker.ask(KEY, *(f"q{number}" for number in range(30)))
    await server.reached(module.CONCURRENT_QUERIES)
    server.go_on.set()
    await asker.answered()
    assert len(server.asked) == 30
    assert server.most <= module.CONCURRENT_QUERIES


async def test_answers_that_nobody_looks_at_are_forgotten(
    server: Server, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    for query in ("a", "b"):
        asker.ask(KEY, query)
        await asker.answered()
    assert asker.queries.answer("a") is not None
    asker.ask(KEY, "c")
    await asker.answered()
    assert asker.queries.answer("a") is not None
    assert asker.queries.answer("b") is None


async def test_without_prometheus_the_problem_says_what_to_set() -> None:
    asker = Asker(None)
    asker.ask(KEY, "up")
    await asker.answered()
    found = asker.queries.answer("up")
    assert found is not None
    assert found.value is None
    assert "prometheus.url" in found.problem
    assert asker.woken == [(KEY, 0.0)]
    assert asker.results == ["problem"]


async def test_what_is_given_up_wakes_nobody(server: Server, asker: Asker) -> None:
    server.go_on.clear()
    asker.ask(KEY, "up")
    await server.reached(1)
    asker.queries.clear()
    server.go_on.set()
    asker.ask(OTHER, "up")
    await asker.answered()
    assert asker.woken == [(OTHER, 0.0)]


Number = Callable[[str], Awaitable[float]]


@pytest.fixture
async def number(server: Server) -> AsyncIterator[Number]:
    """Asks without anything in between."""
    prometheus = Prometheus(server.url)
    yield prometheus.number
    await prometheus.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (vector(), "no series"),
        (vector("1", "2"), "2 series that differ by pod, not one: aggregate"),
        (success("vector", [{"metric": {}, "histogram": [1.5, {}]}]), "histogram_quantile"),
        ({**vector(), "warnings": ["a label is missing"]}, "no series.*; a label is missing"),
        (scalar("NaN"), "gives NaN"),
        (vector("+Inf"), r"gives \+Inf"),
        (success("matrix", []), "a range of values, not one number"),
        (success("vector", [{"metric": {}}]), "cannot be read"),
        (success("vector", ["?"]), "cannot be read"),
        ({"status": "success"}, "not one number"),
        (["?"], "HTTP status 200"),
    ],
)
async def test_all_but_one_number_is_a_problem(
    server: Server, number: Number, answer: Any, problem: str
) -> None:
    server.answers["q"] = answer
    with pytest.raises(QueryError, match=problem):
        await number("q")


async def test_the_words_of_a_refusal_are_passed_on(server: Server, number: Number) -> None:
    words = 'invalid parameter "query": 1:6: parse error: unclosed left parenthesis'
    refusal = {"status": "error", "errorType": "bad_data", "error": words}
    server.answers["rate("] = web.json_response(refusal, status=400)
    with pytest.raises(QueryError, match="refuses the query: 1:6: parse error: unclosed left"):
        await number("rate(")


async def test_trouble_of_prometheus_is_not_blamed_on_the_query(
    server: Server, number: Number
) -> None:
    trouble = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    server.answers["q"] = web.json_response(trouble, status=503)
    with pytest.raises(QueryError, match="Prometheus has no answer: query timed out"):
        await number("q")


@pytest.mark.parametrize(
    ("status", "setting"),
    [(401, "prometheus.tokenFile"), (403, "prometheus.tokenFile"), (404, "prometheus.url")],
)
async def test_what_a_setting_can_mend_names_it(
    server: Server, number: Number, status: int, setting: str
) -> None:
    server.answers["q"] = web.Response(text="no", status=status)
    with pytest.raises(QueryError, match=rf"HTTP status {status}\): see .*{setting}"):
        await number("q")


async def test_an_answer_that_is_no_json(server: Server, number: Number) -> None:
    server.answers["q"] = web.Response(text="<html>sign in</html>", status=502)
    with pytest.raises(QueryError, match="HTTP status 502"):
        await number("q")


async def test_a_redirect_is_not_followed(server: Server, number: Number) -> None:
    server.answers["q"] = web.Response(status=302, headers={"Location": server.url})
    with pytest.raises(QueryError, match="HTTP status 302"):
        await number("q")
    assert server.asked == ["q"]


async def test_a_huge_answer_is_not_read(server: Server, number: Number) -> None:
    server.answers["q"] = vector(*(["1"] * 100_000))
    with pytest.raises(QueryError, match="too many series"):
        await number("q")


async def test_no_answer_in_time(
    server: Server, number: Number, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.runtime.prometheus.SECONDS", 0.1)
    server.go_on.clear()
    with pytest.raises(QueryError, match=r"within 0\.1 s"):
        await number("q")


async def test_nobody_there() -> None:
    prometheus = Prometheus("http://127.0.0.1:1")
    with pytest.raises(QueryError, match="cannot be asked"):
        await prometheus.number("q")
    await prometheus.close()


async def test_the_token_is_read_each_time(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    prometheus = Prometheus(server.url, token_file=str(token))
    for value in ("one", "two"):
        token.write_text(f"{value}\n")
        assert await prometheus.number("q") == 1
    assert server.tokens == ["Bearer one", "Bearer two"]
    token.unlink()
    with pytest.raises(QueryError, match=r"cannot be asked.*token"):
        await prometheus.number("q")
    await prometheus.close()


async def test_a_bug_of_ours_is_an_answer_too(
    server: Server, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Any, query: str) -> float:
        raise RuntimeError(query)

    monkeypatch.setattr(Prometheus, "number", fail)
    asker.ask(KEY, "up")
    await asker.answered()
    found = asker.queries.answer("up")
    assert found is not None
    assert "RuntimeError" in found.problem
    assert asker.woken == [(KEY, 0.0)]
