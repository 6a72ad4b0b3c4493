"""Frozen dataclasses as plain JSON values and back, by their type hints.

Only what states need: numbers, texts, None, enums, bytes (base64), tuples of one type, dicts with
text keys, dataclasses. A round trip gives an equal value: JSON keeps floats exactly.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
import types
import typing
from enum import StrEnum
from typing import Any


def encode(value: Any) -> Any:
    """As JSON values. Raises TypeError for what is not listed above, and floats that JSON lacks."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [encode(one) for one in value]
    if isinstance(value, dict):
        return {str(key): encode(one) for key, one in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise TypeError(f"{value!r} cannot be stored")


def decode(kind: Any, value: Any) -> Any:
    """The value that `encode` made this of. Raises ValueError or TypeError for anything else."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = [one for one in typing.get_args(kind) if one is not type(None)]
        return None if value is None else decode(options[0], value)
    if origin is tuple:
        return tuple(decode(typing.get_args(kind)[0], one) for one in _of(list, value))
    if origin is dict:
        inner = typing.get_args(kind)
        pairs = _of(dict, value).items()
        return {decode(inner[0], key): decode(inner[1], one) for key, one in pairs}
    if dataclasses.is_dataclass(kind):
        found, hints = _of(dict, value), _hints(typing.cast("type", kind))
        if found.keys() != hints.keys():
            raise ValueError(f"fields {sorted(found.keys() ^ hints.keys())} do not fit")
        return typing.cast("type", kind)(**{n: decode(h, found[n]) for n, h in hints.items()})
    if kind is bytes:
        return base64.b64decode(_of(str, value), validate=True)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{value!r} is no number")
        return float(value)
    return _of(kind, value)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(kind)]
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in names}
