"""What the intake service is told, by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.contract.run import StoreLocation
from modelyard.store.opening import Credentials


class SettingsError(ValueError):
    """The service cannot run like this; the message says what is missing."""


@dataclass(frozen=True)
class Settings:
    """See the package's docstring."""

    namespaces: frozenset[str]
    location: StoreLocation
    credentials: Credentials
    agent_account: str = "modelyard-agent"
    requests_per_hour: int = 240
    bytes_per_day: int = 4 * 1024**3
    port: int = 8070


def read(environ: Mapping[str, str]) -> Settings:
    """From the environment. Raises SettingsError."""
    url = environ.get("MODELYARD_STORE__URL", "")
    if not url.startswith("s3://"):
        raise SettingsError(
            f"MODELYARD_STORE__URL is {url!r}: the intake service signs requests to S3 only"
        )
    access, secret = (
        environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    if not access or not secret:
        raise SettingsError(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: requests are signed with a "
            "key of its own (store.existingIntakeSecret in the chart)"
        )
    return Settings(
        namespaces=frozenset(filter(None, environ.get("MODELYARD_NAMESPACES", "").split(","))),
        location=StoreLocation(
            url=url,
            endpoint=environ.get("MODELYARD_STORE__ENDPOINT") or None,
            region=environ.get("MODELYARD_STORE__REGION") or "us-east-1",
        ),
        credentials=Credentials(access, secret),
        agent_account=environ.get("MODELYARD_AGENT_ACCOUNT") or Settings.agent_account,
        requests_per_hour=_number(environ, "MODELYARD_INTAKE_REQUESTS", Settings.requests_per_hour),
        bytes_per_day=_number(environ, "MODELYARD_INTAKE_BYTES", Settings.bytes_per_day),
        port=_number(environ, "MODELYARD_INTAKE_PORT", Settings.port),
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise SettingsError(f"{name}={text!r} is no whole number above 0")
    return int(text)
