"""From a StoreLocation to obstore's client, with time limits and retries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from modelyard.contract.run import StoreLocation
from modelyard.store.errors import StoreError, translated

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az", "file")


@dataclass(frozen=True)
class Credentials:
    """S3 credentials that do not come from the AWS_… environment."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


@dataclass(frozen=True)
class Retries:
    """How long a store that fails is tried again before StoreUnavailable."""

    attempts: int = 8
    seconds: float = 120

    def config(self) -> RetryConfig:
        """obstore's form: exponential backoff with jitter."""
        backoff: BackoffConfig = {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=15),
            "base": 2,
        }
        return {
            "max_retries": self.attempts,
            "retry_timeout": timedelta(seconds=self.seconds),
            "backoff": backoff,
        }


@dataclass(frozen=True)
class Place:
    """A store's URL, taken apart."""

    scheme: str
    bucket: str
    """Empty for a directory."""
    prefix: str
    """Without slashes at its ends; of a directory, the path without the first slash."""

    @classmethod
    def parse(cls, url: str) -> Place:
        """Bucket and prefix are taken as written: `#`, `?` and `%` have no meaning in S3 keys.
        Raises StoreError for a URL that is none of `s3://bucket/prefix`, `gs://…`,
        `az://container/…`, `file:///path`."""
        scheme, found, rest = url.partition("://")
        if not found or scheme not in SCHEMES:
            raise StoreError(f"store URL {url!r}: the scheme must be one of {', '.join(SCHEMES)}")
        if scheme == "file":
            parts = urlsplit(url)
            path = unquote(parts.path).strip("/")
            if parts.netloc not in ("", "localhost") or not path:
                raise StoreError(f"store URL {url!r}: a directory is written file:///absolute/path")
            return cls(scheme, "", path)
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise StoreError(f"store URL {url!r}: the bucket's name is missing")
        return cls(scheme, bucket, prefix.strip("/"))


def open_location(
    location: StoreLocation,
    *,
    credentials: Credentials | None = None,
    retries: Retries | None = None,
) -> ObjectStore:
    """obstore's client for a location; keys are relative to its prefix.

    Credentials come from the environment unless given. Raises StoreError for a URL that is none
    of `s3://bucket/prefix`, `gs://…`, `az://container/…`, `file:///path`, or a directory that
    cannot be made.
    """
    place = Place.parse(location.url)
    retry_config = (retries or Retries()).config()
    bucket, prefix = place.bucket, place.prefix or None
    with translated(location.url, ""):
        if place.scheme == "file":
            return LocalStore(Path("/", place.prefix), mkdir=True)
        if place.scheme == "gs":
            return GCSStore(
                bucket,
                prefix=prefix,
                client_options=_client_options(None),
                retry_config=retry_config,
            )
        if place.scheme == "az":
            return AzureStore(
                bucket,
                prefix=prefix,
                config={"endpoint": location.endpoint} if location.endpoint else {},
                client_options=_client_options(location.endpoint),
                retry_config=retry_config,
            )
        return S3Store(
            bucket,
            prefix=prefix,
            config=_s3_config(location, credentials),
            client_options=_client_options(location.endpoint),
            retry_config=retry_config,
        )


def _s3_config(location: StoreLocation, credentials: Credentials | None) -> Any:
    config: dict[str, Any] = {
        "region": location.region,
        # Path style: a server behind a plain host name has no names for its buckets.
        "virtual_hosted_style_request": location.endpoint is None,
    }
    if location.endpoint:
        config["endpoint"] = location.endpoint.rstrip("/")
    if credentials:
        config["access_key_id"] = credentials.access_key_id
        config["secret_access_key"] = credentials.secret_access_key
        if credentials.session_token:
            config["session_token"] = credentials.session_token
    return config


def _client_options(endpoint: str | None) -> ClientConfig:
    return {
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "connect_timeout": "10s",
        # A large blob may take long as a whole, but the line may not be silent for long.
        "read_timeout": "60s",
        "timeout": "6h",
        "user_agent": "modelyard",
    }
