"""Requests to S3 that obstore does not make: where a bucket is, signatures, listings.

Pure: its users connect by themselves. workloads/data/s3.py reads foreign servers with it, through
connections whose addresses are checked; unfinished.py asks the store's own. Signature version 4:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from modelyard.store.opening import Credentials


@dataclass(frozen=True)
class Endpoint:
    """Where a bucket is."""

    scheme: str
    host: str
    """With the port, where it is not the scheme's."""
    path: str
    """Before the key: the bucket, unless the host names it."""
    region: str

    @classmethod
    def of(cls, bucket: str, endpoint: str | None, region: str) -> Endpoint:
        """At an S3-compatible server, or at Amazon S3 without `endpoint`. Raises ValueError for
        an endpoint that is not scheme, host and port."""
        if endpoint is None:
            if "." in bucket:  # Amazon's certificate covers one level of names.
                return cls("https", f"s3.{region}.amazonaws.com", f"/{bucket}", region)
            return cls("https", f"{bucket}.s3.{region}.amazonaws.com", "", region)
        parts = urlsplit(endpoint)
        if not parts.hostname or "@" in parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError(f"{endpoint} is not scheme, host and port")
        return cls(parts.scheme, parts.netloc, f"/{bucket}", region)

    def target(self, key: str, query: Mapping[str, str]) -> str:
        """Path and query of a request as they are signed and sent: percent-encoded but for
        unreserved characters and slashes, the query's names in order."""
        path = quote(f"{self.path}/{key}", safe="/")
        named = "&".join(f"{k}={quote(v, safe='')}" for k, v in sorted(query.items()))
        return f"{path}?{named}" if named else path


def signed_headers(
    host: str,
    target: str,
    region: str,
    credentials: Credentials | None,
    *,
    method: str = "GET",
    body: bytes = b"",
) -> dict[str, str]:
    """Headers of a request; only the host without credentials. `target` as by Endpoint.target."""
    if credentials is None:
        return {"host": host}
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": content, "x-amz-date": now}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    path, _, query = target.partition("?")
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join([method, path, query, *lines, "", names, content])
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return headers | {
        "authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    }


def parse_listing(body: bytes, root: str) -> ElementTree.Element | None:
    """The document of a listing whose outermost element is `root`, from whomever; None if it is not
    one. Without a document type there are no entities that could expand or lead elsewhere; as text,
    no other encoding can hide one."""
    try:
        text = body.decode()
        if "<!" in text.partition(f"<{root}")[0]:
            return None
        found = ElementTree.fromstring(text)  # noqa: S314 - see above
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError):
        return None
    return found if found.tag.rpartition("}")[2] == root else None
