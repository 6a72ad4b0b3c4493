"""Requests to an S3 server that its ordinary clients do not send, with signature version 4."""

from __future__ import annotations

import base64
import hashlib

import httpx

from modelyard.store.opening import Credentials
from modelyard.store.s3protocol import signed_headers


def request(
    endpoint: str, key: Credentials, method: str, path: str, *, query: str = "", body: bytes = b""
) -> httpx.Response:
    """The response to a signed request; `path` is sent as it is, `query` is one name."""
    host = endpoint.removeprefix("http://")
    target = path + (f"?{query}=" if query else "")
    headers = signed_headers(host, target, "us-east-1", key, method=method, body=body)
    headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    return httpx.request(
        method, f"{endpoint}{target}", content=body, headers=headers, trust_env=False
    )
