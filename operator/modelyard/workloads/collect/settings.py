"""Settings of the collector's pod, from environment variables that the chart sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from modelyard.contract.run import StoreLocation
from modelyard.store.collector import Policy

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGTP", 1)
}


@dataclass(frozen=True)
class Settings:
    """What one run does."""

    location: StoreLocation
    """The whole store; a namespace's part is `within` it."""
    namespaces: tuple[str, ...]
    policy: Policy
    report: tuple[str, str]
    """Namespace and name of the ConfigMap for the report."""
    capacity: int | None
    """Bytes that the store's volume has; None if it is not known."""


def read(environment: Mapping[str, str]) -> Settings:
    """From the environment. Raises KeyError, ValueError."""
    hours = float(environment["MODELYARD_COLLECTOR_GRACE_HOURS"])
    if hours < 2:
        raise ValueError("MODELYARD_COLLECTOR_GRACE_HOURS must be at least 2")
    namespace, _, name = environment["MODELYARD_COLLECTOR_REPORT"].partition("/")
    return Settings(
        location=StoreLocation(
            url=environment["MODELYARD_STORE__URL"],
            endpoint=environment.get("MODELYARD_STORE__ENDPOINT") or None,
            region=environment.get("MODELYARD_STORE__REGION") or "us-east-1",
        ),
        namespaces=tuple(n for n in environment["MODELYARD_NAMESPACES"].split(",") if n),
        policy=Policy(
            grace=timedelta(hours=hours),
            delete=environment.get("MODELYARD_COLLECTOR_DELETE") == "true",
            expire=True,
        ),
        report=(namespace, name),
        capacity=_quantity(environment.get("MODELYARD_COLLECTOR_CAPACITY") or ""),
    )


def _quantity(text: str) -> int | None:
    found = _QUANTITY.fullmatch(text)
    return int(float(found[1]) * _UNITS[found[2] or ""]) if found else None
