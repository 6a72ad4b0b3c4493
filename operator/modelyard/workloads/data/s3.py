"""A reader of foreign S3 servers: lists a prefix and gets objects, with keys exactly as written.

Why not obstore, which reads Modelyard's own store: it resolves names and connects by itself, so
its connections cannot be checked (guarded.py), it repeats a server's answer in its errors, and it
refuses keys with empty segments. This reader signs each request for its own host
(store/s3protocol.py), follows no redirects, and treats keys as opaque strings. Without credentials
it asks anonymously: those of Modelyard's own store are not known here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, TypeVar

import httpx

from modelyard.store.opening import Credentials
from modelyard.store.s3protocol import Endpoint, parse_listing, signed_headers
from modelyard.workloads import guarded
from modelyard.workloads.addresses import AddressRules, refused
from modelyard.workloads.errors import RetryableError, UserError

T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 30.0
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
_PAGE_BYTES = 16 << 20
"""Of one page of a listing: 1,000 keys of at most 1,024 bytes, escaped, with their metadata."""
_ERROR_BYTES = 64 << 10
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
# Some servers (versitygw) answer 404 to an unknown access key.
_NO_ACCESS = frozenset(
    (
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "XAdminUserNotFound",
        "RequestTimeTooSkewed",
        "ExpiredToken",
        "InvalidToken",
        "AllAccessDisabled",
    )
)
_OTHER_REGION = frozenset(
    ("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect")
)
_KNOWN = _NO_ACCESS | _OTHER_REGION | {"NoSuchKey", "NoSuchBucket", "InvalidBucketName"}


class _Transient(Exception):
    """This attempt failed; another may not. The text is ours."""


@dataclass(frozen=True)
class Listed:
    """An object of a listing."""

    key: str
    """Its whole key."""
    size: int
    """In bytes."""


class S3Reader:
    """One bucket of a foreign server. Safe to share between threads.

    Methods raise UserError, and RetryableError after ATTEMPTS tries. `label` names the source in
    messages, which never repeat what the server said.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        label: str,
        field: str,
        credentials: Credentials | None,
        rules: AddressRules | None,
        first_wait: float = FIRST_WAIT_SECONDS,
    ) -> None:
        """`field` is the spec's field, for messages. `rules` is None for the endpoint of
        Modelyard's own store, which is trusted."""
        self._endpoint = endpoint
        self._label = label
        self._field = field
        self._credentials = credentials
        self._client = guarded.client(rules)
        self._first_wait = first_wait

    def pages(self, prefix: str) -> Iterator[list[Listed]]:
        """All objects whose keys begin with `prefix`, in pages."""
        token: str | None = None
        while True:
            query = {"list-type": "2", "max-keys": "1000", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            page, token = self._retried(partial(self._page, query))
            yield page
            if token is None:
                return

    def get(self, key: str, sink: Callable[[Iterator[bytes], int | None], None]) -> None:
        """Pass an object's bytes, in pieces, and its size if the server tells it, to `sink`, which
        starts again from the beginning whenever it is called again."""

        def attempt() -> None:
            with self._answer(key, {}) as response:
                declared = response.headers.get("content-length", "")
                size = int(declared) if declared.isdigit() else None
                sink(_whole(response, size), size)

        self._retried(attempt)

    def _page(self, query: dict[str, str]) -> tuple[list[Listed], str | None]:
        with self._answer("", query) as response:
            body = _bounded(response, _PAGE_BYTES)
        if body is None:
            self._refuse_listing()
        root = parse_listing(body, "ListBucketResult")
        if root is None:
            self._refuse_listing()
        found: list[Listed] = []
        for one in root.iterfind("{*}Contents"):
            key, size = one.findtext("{*}Key", ""), one.findtext("{*}Size", "")
            if not size.isdecimal() or len(size) > 18 or not key.startswith(query["prefix"]):
                self._refuse_listing()
            found.append(Listed(key, int(size)))
        if root.findtext("{*}IsTruncated") != "true":
            return found, None
        token = root.findtext("{*}NextContinuationToken")
        if not token or token == query.get("continuation-token"):
            self._refuse_listing()
        return found, token

    def _refuse_listing(self) -> NoReturn:
        raise UserError(
            "InvalidSource",
            f"{self._label}: the server's listing is not one of S3 (ListObjectsV2); correct "
            f"{self._field}",
        )

    @contextmanager
    def _answer(self, key: str, query: dict[str, str]) -> Iterator[httpx.Response]:
        """A successful response to a GET, open. Raises _Transient, UserError."""
        target = self._endpoint.target(key, query)
        request = self._client.build_request(
            "GET",
            f"{self._endpoint.scheme}://{self._endpoint.host}/",
            headers=signed_headers(
                self._endpoint.host, target, self._endpoint.region, self._credentials
            ),
            # The target as it is signed: a URL's path would be normalised.
            extensions={"target": target.encode()},
        )
        response = self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                self._explain(response)
            yield response
        finally:
            response.close()

    def _retried(self, attempt: Callable[[], T]) -> T:
        wait = self._first_wait
        for left in reversed(range(ATTEMPTS)):
            try:
                return attempt()
            except guarded.RefusedAddress as error:
                raise refused(self._label, error.address, error.why) from error
            except httpx.InvalidURL as error:
                # httpx reads a redirect even where it does not follow it.
                raise UserError(
                    "InvalidSource",
                    f"{self._label}: the server redirects to no valid URL; correct {self._field}",
                ) from error
            except (_Transient, httpx.TransportError) as error:
                detail = str(error) if isinstance(error, _Transient) else guarded.described(error)
                if not left:
                    raise RetryableError(
                        "SourceUnavailable",
                        f"{self._label} cannot be fetched after {ATTEMPTS} tries ({detail}); check "
                        f"{self._field}, and that pods in this namespace can reach it",
                    ) from error
            time.sleep(min(MAX_WAIT_SECONDS, wait))
            wait *= 2
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, response: httpx.Response) -> NoReturn:
        """Raise the error for a status other than 200."""
        status = response.status_code
        found = _CODE.search(_bounded(response, _ERROR_BYTES) or b"")
        said = found[1].decode() if found else ""
        code = said if said in _KNOWN else ""
        answer = guarded.status_text(status) + (f", {code}" if code else "")
        if status in _TRANSIENT:
            raise _Transient(f"the server answered {answer}")
        if code in _OTHER_REGION or status in (301, 307):
            raise UserError(
                "InvalidSource",
                f"{self._label}: the bucket is in another region or at another endpoint "
                f"({answer}); correct {self._field}",
            )
        if status in (401, 403) or code in _NO_ACCESS:
            who = (
                "these credentials have no"
                if self._credentials
                else "without credentials there is no"
            )
            raise UserError(
                "SourceAccessDenied",
                f"{self._label}: {who} access ({answer}); correct {self._field}",
            )
        if status == 404:
            raise UserError(
                "SourceMissing", f"{self._label}: not found ({answer}); correct {self._field}"
            )
        raise UserError(
            "InvalidSource",
            f"{self._label}: the server answered {answer}; correct {self._field}",
        )


def _bounded(response: httpx.Response, limit: int) -> bytes | None:
    """The body; None if it is longer than `limit` bytes."""
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > limit:
            return None
    return bytes(body)


def _whole(response: httpx.Response, size: int | None) -> Iterator[bytes]:
    """The body's pieces. Raises _Transient if it ends early."""
    received = 0
    for piece in response.iter_raw():
        received += len(piece)
        yield piece
    if size is not None and received != size:
        raise _Transient(f"the connection ended after {received} of {size} bytes")
