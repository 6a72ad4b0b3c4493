"""What is taken off a watch's stream, and what is left for kopf."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from modelyard.handlers.event_stream import EventStream, ExpiredWatch
from modelyard.handlers.kopf_adapter import NO_OBJECT, WatchSession
from modelyard.kube.kinds import by_name
from modelyard.runtime.watches import Watches


class Response:
    """A response that arrives in these chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.content = self
        self.status = 200

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def event(type_: str, version: int, name: str = "a") -> bytes:
    metadata = {"name": name, "resourceVersion": str(version)}
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


def error(code: int) -> bytes:
    return (
        json.dumps({"type": "ERROR", "object": {"code": code}}, separators=(",", ":")).encode()
        + b"\n"
    )


async def listen(*chunks: bytes, broken: str = "") -> tuple[list[str], list[dict[str, Any]]]:
    """(what was taken, what kopf reads)."""
    taken: list[str] = []

    def take(type_: str, obj: Any) -> None:
        if obj["metadata"]["name"] == broken:
            raise RuntimeError("a bug")
        taken.append(f"{type_} {obj['metadata']['name']}")

    watch: Any = EventStream(Response(*chunks), "Dataset", take)  # type: ignore[arg-type]
    left = [json.loads(line) async for line in watch.content.iter_chunked(1024)]
    return taken, left


async def test_events_are_taken_and_kopf_learns_how_far_they_went() -> None:
    first = event("ADDED", 5) + event("MODIFIED", 6, "b")
    second = event("DELETED", 9)
    taken, left = await listen(first, second)
    assert taken == ["ADDED a", "MODIFIED b", "DELETED a"]
    assert [(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in left] == [
        ("BOOKMARK", "6"),
        ("BOOKMARK", "9"),
    ]


async def test_a_bookmark_only_moves_the_version_on() -> None:
    taken, left = await listen(event("BOOKMARK", 7))
    assert taken == []
    assert left[0]["object"]["metadata"]["resourceVersion"] == "7"


async def test_an_event_may_arrive_in_pieces() -> None:
    whole = event("ADDED", 5, "with-a-long-name")
    taken, left = await listen(whole[:10], whole[10:30], whole[30:])
    assert taken == ["ADDED with-a-long-name"]
    assert len(left) == 1


async def test_kopf_hears_that_it_must_list_again() -> None:
    taken, left = await listen(event("ADDED", 5) + error(410) + event("ADDED", 6, "b"))
    assert taken == ["ADDED a"]
    assert left == [{"type": "ERROR", "object": {"code": 410}}]


async def test_another_error_only_ends_the_stream() -> None:
    taken, left = await listen(error(500), event("ADDED", 6))
    assert (taken, left) == ([], [])


async def test_what_is_not_json_is_a_lost_connection() -> None:
    with pytest.raises(aiohttp.ClientPayloadError, match="not JSON"):
        await listen(b"<html>\n")


async def test_one_object_that_cannot_be_taken_in_does_not_hide_the_next() -> None:
    taken, _ = await listen(event("ADDED", 5, "bad") + event("ADDED", 6, "good"), broken="bad")
    assert taken == ["ADDED good"]


async def test_a_watch_that_is_refused_as_too_old_starts_from_a_new_list() -> None:
    watch: Any = ExpiredWatch(Response())  # type: ignore[arg-type]
    assert watch.status < 300
    assert [line async for line in watch.content.iter_chunked(1024)] == [error(410)]


class Connection:
    """An API server that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def session(self, **_: Any) -> Connection:
        return self

    async def request(self, method: str, url: str, **_: Any) -> Response:
        self.asked.append(dict(parse_qsl(urlsplit(url).query)))
        return Response()


async def test_only_events_of_refused_pods_are_watched() -> None:
    connection: Any = Connection()
    kinds = (by_name("core/Event"), by_name("Pod"))
    watches = Watches([kind.name for kind in kinds])
    session = WatchSession(connection, kinds, watches, lambda *_: None)
    for kind in kinds:
        await session.request("get", f"https://api{kind.path()}")
        await session.request("get", f"https://api{kind.path()}?watch=true&labelSelector=a")
    selected = [query.get("fieldSelector") for query in connection.asked]
    wanted = by_name("core/Event").fields
    assert wanted is not None
    assert "reason=FailedCreate" in wanted
    assert selected == [NO_OBJECT, wanted, NO_OBJECT, None]
    assert connection.asked[1]["labelSelector"] == "a"
