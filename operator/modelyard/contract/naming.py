"""Names that operator and pods derive alike."""

from __future__ import annotations

import hashlib
import json
from typing import Any

MAX_NAME = 63
"""Job, Service and pod names end up in labels and host names: 63 characters."""


def short_hash(*parts: Any, length: int = 8) -> str:
    """Hexadecimal digits over the canonical JSON of the parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def version_name(line: str, number: int | str) -> str:
    """Name of a ModelVersion; admission holds every ModelVersion to it."""
    return f"{line}-{number}"


def line_of(model_version: str, number: int | str) -> str:
    """The model line in a ModelVersion's name; empty where the name is not of this number."""
    suffix = version_name("", number)
    return model_version.removesuffix(suffix) if model_version.endswith(suffix) else ""


def edge_server_name(deployment: str, node: str) -> str:
    """The ModelServer of a Deployment on an edge node, whichever pod serves there.

    Readable as far as 63 characters allow; the hash keeps it unique.
    """
    mark = short_hash(deployment, node, length=10)
    base = f"{deployment}-{node}".replace(".", "-")[: MAX_NAME - len(mark) - 1].rstrip("-")
    return f"{base}-{mark}"
