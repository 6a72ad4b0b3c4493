"""What an API server makes of a JSON merge patch."""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """The patched target, a new object: RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found
