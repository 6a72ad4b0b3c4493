"""Requests to an S3 server that its ordinary clients do not send, with signature version 4."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import httpx

from modelyard.store.opening import Credentials


def request(
    endpoint: str, key: Credentials, method: str, path: str, *, query: str = "", body: bytes = b""
) -> httpx.Response:
    """The response to a signed request; `path` is sent as it is, `query` is one name."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(body).hexdigest()
    host = endpoint.removeprefix("http://")
    headers = {"host": host, "x-amz-content-sha256": content, "x-amz-date": now}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = [method, path, f"{query}=" if query else "", *lines, "", names, content]
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    secret = f"AWS4{key.secret_access_key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key.access_key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={hmac.digest(secret, text.encode(), 'sha256').hex()}"
    )
    headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    url = f"{endpoint}{path}" + (f"?{query}=" if query else "")
    return httpx.request(method, url, content=body, headers=headers, trust_env=False)
