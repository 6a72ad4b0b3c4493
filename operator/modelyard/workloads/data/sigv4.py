"""Signature version 4 of GET requests to S3.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

from modelyard.store.opening import Credentials

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def signed_headers(
    host: str, target: str, region: str, credentials: Credentials | None
) -> dict[str, str]:
    """Headers of a GET without a body; only the host without credentials.

    `target` is path and query as they are sent: percent-encoded, the query's names in order.
    """
    if credentials is None:
        return {"host": host}
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": now}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    path, _, query = target.partition("?")
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join(["GET", path, query, *lines, "", names, _EMPTY_SHA256])
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
