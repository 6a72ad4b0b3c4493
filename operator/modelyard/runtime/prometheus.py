"""Instant queries to Prometheus over HTTP. metric_queries.py runs them.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import asyncio
import math
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import orjson

SECONDS = 10.0
"""Maximum time for one query."""
SERVER_SECONDS = 8
"""Timeout that Prometheus itself applies; shorter, so that it can still report the cause."""
MAX_BYTES = 1 << 20
"""Maximum size of a response; one number takes a few hundred bytes."""
MAX_ERROR_CHARACTERS = 300
"""Maximum length of an error message that is passed on."""
_QUERY_ERRORS = ("bad_data", "execution")


class QueryError(Exception):
    """The query did not give a single number; the message tells users why."""


class Prometheus:
    """A server with Prometheus' query API. Close it when done."""

    def __init__(
        self, url: str, *, token_file: str | None = None, ca_file: str | None = None
    ) -> None:
        """`token_file` holds a bearer token and is read for each query: tokens are short-lived.
        `ca_file` holds the only CA certificates (PEM) to trust, by default the system's."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file = Path(token_file) if token_file else None
        self._ca_file = Path(ca_file) if ca_file else None
        self._trust: tuple[int, ssl.SSLContext] | None = None
        """Modification time of the CA file, and the context made from it."""
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def number(self, query: str) -> float:
        """The value of a query that gives one number: a scalar, or a vector of one series.

        Raises QueryError otherwise.
        """
        try:
            # No redirects: the token must not be sent to another address.
            async with (
                asyncio.timeout(SECONDS),
                self._open().get(
                    self._url,
                    params={"query": query, "timeout": f"{SERVER_SECONDS}s"},
                    headers=self._headers(),
                    ssl=self._tls(),
                    allow_redirects=False,
                ) as response,
            ):
                raw = await _read(response)
        except TimeoutError:
            raise QueryError(f"Prometheus did not answer within {SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "unknown authority"
            raise QueryError(
                f"Prometheus' certificate is not trusted ({why}): see prometheus.caFile"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = str(error) or type(error).__name__
            raise QueryError(f"Prometheus cannot be asked: {text[:MAX_ERROR_CHARACTERS]}") from None
        return _number(raw, response.status)

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}

    def _tls(self) -> ssl.SSLContext | bool:
        """TLS settings; the CA file is read again after it was replaced."""
        if self._ca_file is None:
            return True
        written = self._ca_file.stat().st_mtime_ns
        if self._trust is None or self._trust[0] != written:
            self._trust = written, ssl.create_default_context(cafile=self._ca_file)
        return self._trust[1]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "modelyard-operator"})
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            response.close()
            raise QueryError("the query gives far too many series, not one")
    return b"".join(parts)


def _number(raw: bytes, status: int) -> float:
    """The number in a response."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict) or body.get("status") != "success":
        raise QueryError(_error_message(body if isinstance(body, dict) else {}, status))
    data = body.get("data")
    sample = _sample(data if isinstance(data, dict) else {}, _first_warning(body))
    try:
        number = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise QueryError("the answer of Prometheus cannot be read") from None
    if math.isnan(number):
        raise QueryError("the query gives NaN, as 0 / 0 does: nothing was counted")
    if math.isinf(number):
        raise QueryError(f"the query gives {sample[1]}, as a division by 0 does")
    return number


def _error_message(body: dict[str, Any], status: int) -> str:
    """Why there is no result, and what to change.

    Error types: https://github.com/prometheus/prometheus/blob/main/web/api/v1/api.go
    """
    text = str(body.get("error") or "").removeprefix('invalid parameter "query": ')[
        :MAX_ERROR_CHARACTERS
    ]
    if body.get("errorType") in _QUERY_ERRORS:
        return f"Prometheus refuses the query: {text}"
    if text:
        return f"Prometheus has no answer: {text}"
    if status in (401, 403):
        return f"Prometheus refuses the operator (HTTP status {status}): see prometheus.tokenFile"
    if status == 404 or 300 <= status < 400:
        return f"no Prometheus at the address (HTTP status {status}): see prometheus.url"
    return f"Prometheus has no answer: HTTP status {status}"


def _sample(data: dict[str, Any], warning: str) -> Any:
    """[time, value]."""
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        return result
    if kind == "matrix":
        raise QueryError(
            "the query gives a range of values, not one number: wrap it, as rate(…) does"
        )
    if kind != "vector" or not isinstance(result, list):
        raise QueryError(f"the query gives a {kind}, not one number")
    if not result:
        raise QueryError(
            f"the query gives no series: nothing matches, or nothing was measured{warning}"
        )
    if len(result) > 1:
        raise QueryError(_many(result))
    only = result[0] if isinstance(result[0], dict) else {}
    if "histogram" in only:
        raise QueryError("the query gives a histogram, not one number: take histogram_quantile(…)")
    return only.get("value")


def _many(result: list[Any]) -> str:
    """The message for a query with several series."""
    series = [one.get("metric") for one in result if isinstance(one, dict)]
    found = [one for one in series if isinstance(one, dict)]
    names = sorted({name for one in found for name in one} - {"__name__"})
    differ = [name for name in names if len({one.get(name) for one in found}) > 1]
    by = f" that differ by {', '.join(differ[:3])}" if differ else ""
    return f"the query gives {len(result)} series{by}, not one: aggregate them, as sum(…) does"


def _first_warning(body: dict[str, Any]) -> str:
    """Prometheus' first warning or info about a query, such as a missing label `le`."""
    for name in ("warnings", "infos"):
        texts = body.get(name)
        if isinstance(texts, list) and texts:
            return f"; {str(texts[0])[:MAX_ERROR_CHARACTERS]}"
    return ""
