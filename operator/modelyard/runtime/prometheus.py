"""Instant queries of a Prometheus.

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
"""Longest time for one query."""
THEIR_SECONDS = 8
"""After which Prometheus itself is to give up, and can still say what took so long."""
MOST_BYTES = 1 << 20
"""Longest answer that is read: one number takes a few hundred."""
MOST_WORDS = 300
"""Longest part of an error that is passed on."""
_FAULTS_OF_THE_QUERY = ("bad_data", "execution")


class Trouble(Exception):
    """There is no single number; the message says why, for people."""


class Prometheus:
    """Anything that answers Prometheus' query API. Close it when done."""

    def __init__(
        self, url: str, *, token_file: str | None = None, ca_file: str | None = None
    ) -> None:
        """`token_file` holds a bearer token; it is read for each query: tokens are short-lived.
        `ca_file` holds the certificates (PEM) of whom alone to trust, by default the system's."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file = Path(token_file) if token_file else None
        self._ca_file = Path(ca_file) if ca_file else None
        self._trust: tuple[int, ssl.SSLContext] | None = None
        """When the file was written, and what it says."""
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
                    params={"query": query, "timeout": f"{THEIR_SECONDS}s"},
                    headers=self._headers(),
                    ssl=self._tls(),
                    allow_redirects=False,
                ) as response,
            ):
                raw = await _read(response)
        except TimeoutError:
            raise Trouble(f"Prometheus did not answer within {SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "unknown authority"
            raise Trouble(
                f"Prometheus' certificate is not trusted ({why}): see prometheus.caFile"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            raise Trouble(f"Prometheus cannot be asked: {words[:MOST_WORDS]}") from None
        return _number(raw, response.status)

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}

    def _tls(self) -> ssl.SSLContext | bool:
        """Whom to trust; a file that was replaced is read again."""
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
        raise Trouble(_refusal(body if isinstance(body, dict) else {}, status))
    data = body.get("data")
    sample = _sample(data if isinstance(data, dict) else {}, _remark(body))
    try:
        number = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise Trouble("the answer of Prometheus cannot be read") from None
    if math.isnan(number):
        raise Trouble("the query gives NaN, as 0 / 0 does: nothing was counted")
    if math.isinf(number):
        raise Trouble(f"the query gives {sample[1]}, as a division by 0 does")
    return number


def _refusal(body: dict[str, Any], status: int) -> str:
    """Why there is no result, and who can change that.

    Error types: https://github.com/prometheus/prometheus/blob/main/web/api/v1/api.go
    """
    words = str(body.get("error") or "").removeprefix('invalid parameter "query": ')[:MOST_WORDS]
    if body.get("errorType") in _FAULTS_OF_THE_QUERY:
        return f"Prometheus refuses the query: {words}"
    if words:
        return f"Prometheus has no answer: {words}"
    if status in (401, 403):
        return f"Prometheus refuses the operator (HTTP status {status}): see prometheus.tokenFile"
    if status == 404 or 300 <= status < 400:
        return f"no Prometheus at the address (HTTP status {status}): see prometheus.url"
    return f"Prometheus has no answer: HTTP status {status}"


def _sample(data: dict[str, Any], remark: str) -> Any:
    """[time, value]."""
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        return result
    if kind == "matrix":
        raise Trouble("the query gives a range of values, not one number: wrap it, as rate(…) does")
    if kind != "vector" or not isinstance(result, list):
        raise Trouble(f"the query gives a {kind}, not one number")
    if not result:
        raise Trouble(
            f"the query gives no series: nothing matches, or nothing was measured{remark}"
        )
    if len(result) > 1:
        raise Trouble(_many(result))
    only = result[0] if isinstance(result[0], dict) else {}
    if "histogram" in only:
        raise Trouble("the query gives a histogram, not one number: take histogram_quantile(…)")
    return only.get("value")


def _many(result: list[Any]) -> str:
    """What to do about several series."""
    series = [one.get("metric") for one in result if isinstance(one, dict)]
    found = [one for one in series if isinstance(one, dict)]
    names = sorted({name for one in found for name in one} - {"__name__"})
    differ = [name for name in names if len({one.get(name) for one in found}) > 1]
    by = f" that differ by {', '.join(differ[:3])}" if differ else ""
    return f"the query gives {len(result)} series{by}, not one: aggregate them, as sum(…) does"


def _remark(body: dict[str, Any]) -> str:
    """What Prometheus says about a query that it answered, such as of a missing label `le`."""
    for name in ("warnings", "infos"):
        said = body.get(name)
        if isinstance(said, list) and said:
            return f"; {str(said[0])[:MOST_WORDS]}"
    return ""
