"""Downloads an archive over HTTP(S): streamed, resumed after a break, bounded, verified."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from modelyard.workloads import guarded
from modelyard.workloads.addresses import NOT_ALLOWED, AddressRules, refused
from modelyard.workloads.data.limits import Limits, human
from modelyard.workloads.errors import RetryableError, UserError

log = logging.getLogger("modelyard.data")

ATTEMPTS = 6
FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 30.0
MAX_REDIRECTS = 10
PROGRESS_SECONDS = 10.0

_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


@dataclass
class _Progress:
    """State from which a broken download resumes."""

    received: int = 0
    validator: str | None = None
    """ETag or date, to detect that the file has changed."""


class _Broken(Exception):
    """This attempt failed; another may not."""


def download(
    url: str,
    destination: Path,
    *,
    digest: str | None,
    limits: Limits,
    rules: AddressRules,
    first_wait: float = FIRST_WAIT_SECONDS,
) -> str:
    """Download `url` into `destination`; returns the URL for messages, without what may be secret.

    A break is resumed where the server can, up to ATTEMPTS tries in all. Raises UserError for a
    URL that does not exist, may not be fetched, is too large or has another digest;
    RetryableError if the server cannot be reached or keeps failing.
    """
    label = shown(url)
    progress = _Progress()
    with guarded.client(rules) as client:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _attempt(client, url, destination, limits, progress)
                break
            except guarded.RefusedAddress as error:
                raise refused(label, error.address, error.why) from error
            except httpx.InvalidURL as error:
                raise UserError(
                    "InvalidSource", f"{label} is no valid URL, or redirects to none"
                ) from error
            except (_Broken, httpx.TransportError) as error:
                detail = str(error) if isinstance(error, _Broken) else guarded.described(error)
                if attempt == ATTEMPTS:
                    raise RetryableError(
                        "SourceUnavailable",
                        f"{label} cannot be fetched after {ATTEMPTS} tries ({detail}); check the "
                        "URL, and that pods in this namespace can reach it",
                    ) from error
                wait = min(MAX_WAIT_SECONDS, first_wait * 2 ** (attempt - 1))
                log.warning("%s: %s; next try in %.0f s", label, detail, wait)
                time.sleep(wait)
    if digest:
        _verify(destination, digest, label)
    return label


def shown(url: str) -> str:
    """A URL for messages and logs: without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def _attempt(
    client: httpx.Client,
    url: str,
    destination: Path,
    limits: Limits,
    progress: _Progress,
) -> None:
    label = shown(url)
    headers = {}
    if progress.received and progress.validator:
        headers = {"range": f"bytes={progress.received}-", "if-range": progress.validator}
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream("GET", url, headers=headers) as response:
            if response.has_redirect_location:
                url = _redirected(response, label)
                continue
            _check_status(response, label)
            _receive(response, destination, label, limits, progress)
            return
    raise UserError("SourceMissing", f"{label} redirects more than {MAX_REDIRECTS} times")


def _redirected(response: httpx.Response, label: str) -> str:
    try:
        target = response.url.join(response.headers["location"])
    except httpx.InvalidURL:
        target = None
    if target is None or target.scheme not in ("http", "https"):
        raise UserError(
            NOT_ALLOWED, f"{label} redirects to what is no HTTP(S) URL; only HTTP(S) is fetched"
        )
    return str(target)


def _check_status(response: httpx.Response, label: str) -> None:
    status = response.status_code
    answer = guarded.status_text(status)
    if status in (200, 206):
        return
    if status in _TRANSIENT:
        raise _Broken(f"the server answered {answer}")
    if status == 416:
        raise _Broken("the file changed while it was fetched")
    if status in (401, 403):
        raise UserError(
            "SourceAccessDenied",
            f"{label}: the server answered {answer}; use a URL that needs no login, or whose "
            "query carries a valid signature",
        )
    raise UserError(
        "SourceMissing", f"{label}: the server answered {answer}; correct spec.source.http.url"
    )


def _receive(
    response: httpx.Response, destination: Path, label: str, limits: Limits, progress: _Progress
) -> None:
    resumed = response.status_code == 206
    if resumed:
        begin = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        if not begin or int(begin[1]) != progress.received:
            progress.received = 0
            raise _Broken("the server answered with another part of the file than asked for")
    else:
        progress.received = 0
        etag = response.headers.get("etag", "")
        # If-Range takes only strong validators (RFC 9110, 13.1.5).
        strong = etag if etag and not etag.startswith("W/") else None
        progress.validator = strong or response.headers.get("last-modified")
    declared = response.headers.get("content-length", "")
    total = progress.received + int(declared) if declared.isdigit() else None
    limits.check_download(total or 0, label)
    last = time.monotonic()
    with destination.open("ab" if resumed else "wb") as file:
        # Pieces as the network has them: a larger size would lose what it gathered at a break.
        for piece in response.iter_raw():
            limits.check_download(progress.received + len(piece), label)
            file.write(piece)
            progress.received += len(piece)
            if time.monotonic() - last > PROGRESS_SECONDS:
                last = time.monotonic()
                of = f" of {human(total)}" if total else ""
                log.info("fetched %s%s", human(progress.received), of)
    if total is not None and progress.received != total:
        raise _Broken(f"the connection ended after {progress.received} of {total} bytes")
    log.info("fetched %s", human(progress.received))


def _verify(path: Path, digest: str, label: str) -> None:
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if found != digest:
        raise UserError(
            "DigestMismatch",
            f"{label} has digest {found}, but spec.source.http.digest is {digest}; the file has "
            "changed, or the digest is wrong",
        )
