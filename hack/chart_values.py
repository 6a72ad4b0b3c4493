"""Keeps the default resources in the chart's values.yaml in step with the kinds' components."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from modelyard.api import ALL_KINDS, KindInfo
from modelyard.api.kinds import default_resources

VALUES = Path(__file__).parent.parent / "charts/modelyard/values.yaml"
_BLOCK = re.compile(
    r"(\nworkloads:\n.*?\n  resources:\n)(?:    [a-z]+: \{[^{}\n]*\}\n)+", re.DOTALL
)


def render(values: str, kinds: Iterable[KindInfo] = ALL_KINDS) -> str:
    """values.yaml with the present defaults below `workloads.resources`.

    Raises ValueError where it has no such block.
    """
    lines = "".join(
        f"    {component}: {{{', '.join(f'{k}: {_scalar(v)}' for k, v in resources.items())}}}\n"
        for component, resources in default_resources(kinds).items()
    )
    text, found = _BLOCK.subn(lambda match: match[1] + lines, values)
    if found != 1:
        raise ValueError("values.yaml has no block of entries below workloads.resources")
    return text


def _scalar(text: str) -> str:
    """A quantity as YAML: one that looks like a number is quoted."""
    return json.dumps(text) if re.fullmatch(r"[0-9.]+", text) else text
