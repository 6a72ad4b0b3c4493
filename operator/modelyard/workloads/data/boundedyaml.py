"""Reads YAML of strangers in memory and time that its size bounds.

YAML can name a part of itself again (an alias), so that 300 bytes stand for gigabytes wherever
somebody copies, merges or prints what was read. So the parser's events are weighed before anything
is built: each alias counts as much as what it stands for.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_TEXT = 4096
"""Characters of one scalar: no name or path is longer, and numbers of that length still convert."""
MAX_DEPTH = 32
"""Levels of nesting; parsers recurse."""
MAX_WEIGHT = 8 * 1024 * 1024
"""Characters and nodes of the document, with aliases written out."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """What the text says, as `yaml.safe_load` has it. Raises ValueError, naming what is wrong."""
    try:
        _weigh(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (ArithmeticError, AttributeError, LookupError, TypeError, yaml.YAMLError) as error:
        # A number or date that is none raises what Python's own types raise.
        raise ValueError(" ".join(str(error).split())[:300]) from error


def _weigh(text: str) -> None:
    """Raises ValueError for a document that is too large with its aliases written out."""
    total = 0
    open_parts: list[tuple[str | None, int]] = []
    """Anchor of each collection that has begun, and the total before it."""
    anchors: dict[str, int] = {}
    for event in yaml.parse(text, _Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor not in anchors:
                raise ValueError(f"the alias *{str(anchor)[:80]} stands for nothing before it")
            total += anchors[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_TEXT:
                raise ValueError(f"a text has more than {MAX_TEXT} characters")
            weight = len(event.value) + 1
            total += weight
            if anchor is not None:
                anchors[anchor] = weight
        elif isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((anchor, total))
            total += 1
            if len(open_parts) > MAX_DEPTH:
                raise ValueError(f"it nests more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_parts.pop()
            if name is not None:
                anchors[name] = total - before
        if total > MAX_WEIGHT:
            raise ValueError(
                f"it has more than {MAX_WEIGHT} characters when its aliases are written out"
            )
