"""Signs one PUT that somebody without keys may make: this content, under this key, once.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html. Signed with it are the
headers that bind it: the length, the checksum, which the store compares with what it gets, and
If-None-Match, by which it refuses to replace an object.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.contract.run import StoreLocation
from modelyard.store.errors import StoreError
from modelyard.store.opening import Credentials, Place
from modelyard.store.s3protocol import Endpoint


@dataclass(frozen=True)
class SignedPut:
    """A PUT that the store accepts."""

    url: str
    headers: dict[str, str]
    """To be sent with it; Content-Length comes on top, with the announced size."""


def origin(location: StoreLocation) -> str:
    """Scheme and host of the requests to a store on S3. Raises StoreError for another store."""
    endpoint, _ = _place(location)
    return f"{endpoint.scheme}://{endpoint.host}"


def signed_put(
    location: StoreLocation,
    key: str,
    *,
    sha256: str,
    size: int,
    seconds: int,
    credentials: Credentials,
    now: datetime | None = None,
) -> SignedPut:
    """One PUT of `size` bytes with a hexadecimal SHA-256 under a key of the location, which must
    not be there yet; valid for so many seconds. Raises StoreError if the store is not on S3."""
    endpoint, prefix = _place(location)
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{endpoint.region}/s3/aws4_request"
    headers = {
        "content-length": str(size),
        "host": endpoint.host,
        "if-none-match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
    }
    names = ";".join(headers)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    target = endpoint.target(f"{prefix}{key}", query)
    path, _, named = target.partition("?")
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join(["PUT", path, named, *lines, "", names, "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    secret = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    sent = {name: headers[name] for name in ("if-none-match", "x-amz-checksum-sha256")}
    url = f"{endpoint.scheme}://{endpoint.host}{target}&X-Amz-Signature={signature}"
    return SignedPut(url, sent)


def _place(location: StoreLocation) -> tuple[Endpoint, str]:
    """Where the bucket is, and the prefix with a slash at its end, or none."""
    place = Place.parse(location.url)
    if place.scheme != "s3":
        raise StoreError(f"store URL {location.url!r}: only stores on S3 take signed requests")
    try:
        endpoint = Endpoint.of(place.bucket, location.endpoint, location.region)
    except ValueError as error:
        raise StoreError(f"store endpoint: {error}") from error
    return endpoint, f"{place.prefix}/" if place.prefix else ""
