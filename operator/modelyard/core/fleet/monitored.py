"""What a ModelServer's spec says that its agent is to monitor, as one text that can be compared.

One text for all servers of which the same is wanted: thousands cost as much memory as one, and
whether they are up to date is a look-up. Who wants what: core/deployment/monitoring.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from modelyard.api.monitoring import ServerMonitoring


def text_of(monitoring: ServerMonitoring) -> str:
    """The text of what is wanted; empty for nothing."""
    found = monitoring.model_dump(mode="json", by_alias=True, exclude_none=True)
    return sys.intern(_json(found)) if found else ""


def read(live: Mapping[str, Any] | None) -> str:
    """The text of what the API server has, with the defaults of this operator and without fields
    that only a newer one knows: neither is a reason to write."""
    return _normal(_json(live)) if live else ""


@lru_cache(maxsize=256)
def _normal(live: str) -> str:
    try:
        found = ServerMonitoring.model_validate(json.loads(live), extra="ignore")
    except ValidationError:
        return live  # Something else than anybody wants: it is written again.
    return text_of(found)


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, sort_keys=True, separators=(",", ":"))
