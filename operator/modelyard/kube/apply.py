"""Server-side apply, sent only if it changes something.

Each applied object carries a hash of the manifest that it was made from, so that a field removed
from the manifest is noticed. Users and other controllers may change live objects: to correct such
drift, the live object is also compared with the manifest field by field (`differences`). The
writes themselves are in runtime/executor.py.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from modelyard.core.plan import KubeObject
from modelyard.kube.api import Object

HASH = "modelyard.dev/applied-hash"
"""Annotation with the hash of the manifest that was applied last."""

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"),
    "P": Decimal("1e15"), "E": Decimal("1e18"), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def with_hash(manifest: KubeObject) -> Object:
    """The manifest with its hash as an annotation, ready to be sent."""
    digest = hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), HASH: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Paths of fields in `wanted` that `live` lacks or has with another value.

    Lists of items with a `name` (containers, ports, variables) are matched by name, since other
    managers may add items; other lists must be equal. Absent and empty values are equal, and
    quantities are compared by value.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return [] if not wanted and live is None else [path]
        found = []
        for key, value in wanted.items():
            found += differences(value, live.get(key), f"{path}.{key}" if path else str(key))
        return found
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if not isinstance(live, Sequence) or isinstance(live, str):
            return [] if not wanted and live is None else [path]
        return _list_differences(wanted, live, path)
    if wanted == live or wanted is None or _same_quantity(wanted, live):
        return []
    return [] if live is None and wanted in ("", False, 0) else [path]


def _list_differences(wanted: Sequence[Any], live: Sequence[Any], path: str) -> list[str]:
    if wanted and all(isinstance(item, Mapping) and "name" in item for item in wanted):
        named = {item.get("name"): item for item in live if isinstance(item, Mapping)}
        pairs = [(item, named.get(item["name"])) for item in wanted]
    elif len(wanted) == len(live):
        pairs = list(zip(wanted, live, strict=True))
    else:
        return [path]
    found = []
    for number, (one, other) in enumerate(pairs):
        found += differences(one, other, f"{path}[{number}]")
    return found


def _same_quantity(one: Any, other: Any) -> bool:
    if not isinstance(one, str | int | float) or not isinstance(other, str | int | float):
        return False
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    a, b = _quantity(str(one)), _quantity(str(other))
    return a is not None and a == b


def _quantity(text: str) -> Decimal | None:
    number = text.rstrip("numkKMGTPEi")
    factor = _SUFFIXES.get(text[len(number) :])
    try:
        return None if factor is None else Decimal(number) * factor
    except InvalidOperation:
        return None
