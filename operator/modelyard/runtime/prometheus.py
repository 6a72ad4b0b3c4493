"""Instant queries of a Prometheus.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import aiohttp
import orjson

SECONDS = 10.0
"""Longest time for one query."""
MOST_BYTES = 1 << 20
"""Longest answer that is read: one number takes a few hundred."""
MOST_WORDS = 300
"""Longest part of an error that is passed on."""


class Trouble(Exception):
    """There is no single number; the message says why, for people."""


class Prometheus:
    """Anything that answers Prometheus' query API. Close it when done."""

    def __init__(self, url: str, *, token_file: str | None = None) -> None:
        """`token_file` holds a bearer token; it is read for each query: tokens are short-lived."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file = Path(token_file) if token_file else None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def number(self, query: str) -> float:
        """The value of a query that gives one number: a scalar, or a vector of one series.

        Raises Trouble for all else.
        """
        try:
            # No redirects: the token is for this address alone.
            async with (
                asyncio.timeout(SECONDS),
                self._open().get(
                    self._url,
                    params={"query": query, "timeout": f"{SECONDS:g}s"},
                    headers=self._headers(),
                    allow_redirects=False,
                ) as response,
            ):
                raw = await _read(response)
        except TimeoutError:
            raise Trouble(f"Prometheus did not answer within {SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            raise Trouble(f"Prometheus cannot be asked: {words[:MOST_WORDS]}") from None
        return _number(raw, response.status)

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "modelyard-operator"})
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            response.close()
            raise Trouble("the query gives far too many series, not one")
    return b"".join(parts)


def _number(raw: bytes, status: int) -> float:
    """The one number of an answer."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict) or body.get("status") != "success":
        words = body.get("error") if isinstance(body, dict) else None
        said = str(words)[:MOST_WORDS] if words else f"HTTP status {status}"
        raise Trouble(f"Prometheus refuses the query: {said}")
    data = body.get("data")
    sample = _sample(data if isinstance(data, dict) else {})
    try:
        number = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise Trouble("the answer of Prometheus cannot be read") from None
    if not math.isfinite(number):
        raise Trouble(f"the query gives {sample[1]}")
    return number


def _sample(data: dict[str, Any]) -> Any:
    """[time, value]."""
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        return result
    if kind != "vector" or not isinstance(result, list):
        raise Trouble(f"the query gives a {kind}, not one number")
    if not result:
        raise Trouble("the query gives no series: nothing matches, or nothing was measured")
    if len(result) > 1:
        raise Trouble(f"the query gives {len(result)} series, not one: aggregate them")
    return result[0].get("value") if isinstance(result[0], dict) else None
