"""No field of any kind takes more than a stated size: who writes an object must not decide how much
memory and time the API server and the operator spend on it.

What a schema cannot bound (keys of maps, and how long a decision takes) is bounded where it is
read: tests/unit/hyperparameters, tests/unit/runtime/test_budget.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.api import ALL_KINDS, KindInfo
from modelyard.api.crd import render

INT_OR_STRING = "x-kubernetes-int-or-string"
UNKNOWN = "x-kubernetes-preserve-unknown-fields"


def unbounded(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Paths whose values may have any size."""
    kind, unknown = schema.get("type"), schema.get(UNKNOWN)
    text = kind == "string" or (kind is None and (INT_OR_STRING in schema or unknown))
    if text and not {"enum", "maxLength"} & set(schema):
        yield f"{path}: string"
    if (kind == "array" or (unknown and kind is None)) and "maxItems" not in schema:
        yield f"{path}: list"
    if kind == "object" and "properties" not in schema and "maxProperties" not in schema:
        yield f"{path}: map"
    if unknown and (kind == "object" or schema.get("maxProperties") != 0):
        yield f"{path}: takes fields that the schema does not know"
    if kind is None and not unknown and INT_OR_STRING not in schema:
        yield f"{path}: no type"
    for name, child in schema.get("properties", {}).items():
        yield from unbounded(child, f"{path}.{name}")
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from unbounded(schema[key], path + sign)
        elif schema.get(key) is True:
            yield f"{path}{sign}: anything"


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda i: i.kind)
def test_every_map_list_and_string_is_bounded(info: KindInfo, part: str) -> None:
    (version,) = render(info)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"][part]
    assert list(unbounded(schema, part)) == []


def test_the_walk_finds_what_it_looks_for() -> None:
    text = {"type": "string", "maxLength": 1}
    anything = {UNKNOWN: True}
    found = unbounded(
        {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "list": {"type": "array", "items": text},
                "map": {"type": "object", "additionalProperties": text},
                "share": {INT_OR_STRING: True},
                "free": {"type": "object", "maxProperties": 3, **anything},
                "value": {"maxLength": 1, "maxItems": 1, "items": anything, **anything},
                "good": {**text, "enum": ["a"]},
            },
        },
        "spec",
    )
    assert {line.split(":")[0] for line in found} == {
        "spec.text", "spec.list", "spec.map", "spec.share", "spec.free", "spec.value",
        "spec.value[]",
    }  # fmt: skip
