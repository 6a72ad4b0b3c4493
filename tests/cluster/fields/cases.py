"""From the leaves to what is sent: what the schema decides, and what needs an operator."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .values import SPECS, Plan, plan
from .walking import Leaf, Omitted, leaves, objects, place, schemas

SPACE = "fields"


@dataclass(frozen=True)
class Asked:
    """A spec that only the API server is asked about."""

    leaf: Leaf
    value: Any
    spec: dict[str, Any]
    valid: bool
    """Whether it must take it, or refuse it and name the leaf."""


@dataclass(frozen=True)
class Trial:
    """A value that is accepted; `reason` is that of the condition which tells that it is wrong."""

    leaf: Leaf
    value: Any
    base: dict[str, Any]
    spec: dict[str, Any]
    space: str = SPACE
    reason: str | None = None

    @property
    def id(self) -> str:
        return f"{self.leaf} = {shown(self.value)}"


def shown(value: Any) -> str:
    """A value for people, cut."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}…({len(text)})"


def all_leaves() -> list[Leaf]:
    """Every leaf of every kind's spec."""
    return [leaf for kind, spec in schemas().items() for leaf in leaves(kind, spec)]


def base_spec(one: Plan) -> dict[str, Any]:
    """The spec that a leaf's values are put into."""
    spec = copy.deepcopy(SPECS[one.leaf.kind])
    for path, value in one.context.items():
        spec = place(spec, path, value)
    return spec


def asked(leaf: Leaf) -> list[Asked]:
    """A leaf's invalid values, and valid ones that need no object."""
    one = plan(leaf)
    base = base_spec(one)
    return [
        Asked(leaf, value, place(base, leaf.path, value), valid)
        for values, valid in ((one.values.invalid, False), (_taken(one), True))
        for value in values
    ]


def _taken(one: Plan) -> list[Any]:
    """Valid values that no object is made for: of what does not show, one object is enough."""
    spared = [*one.values.valid, *one.values.boundary][:-1] if one.silent else []
    return [*one.values.taken, *spared]


def trials(leaf: Leaf) -> Iterator[Trial]:
    """A leaf's valid and boundary values, and those that only a condition refuses."""
    one = plan(leaf)
    base, space = base_spec(one), one.space or SPACE
    seen: list[Any] = []
    values = [*one.values.valid, *one.values.boundary]
    for value in values[-1:] if one.silent else values:
        if any(value == other and type(value) is type(other) for other in seen):
            continue
        seen.append(value)
        spec = base
        known = isinstance(value, str) and value in one.along
        for path, other in (one.along[value] if known else {}).items():
            spec = place(spec, path, other)
        yield Trial(leaf, value, base, place(spec, leaf.path, value), space)
    for value, reason in one.values.troubled:
        yield Trial(leaf, value, base, place(base, leaf.path, value), space, reason)


def strangers() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, path, spec) with a property that no object of the schema has."""
    for kind, schema in schemas().items():
        for path in objects(schema):
            probe = Leaf(kind, f"{path}.unheard".lstrip("."), {}, False)
            yield kind, probe.pointer, place(base_spec(plan(probe)), probe.path, "x")


def name_for(kind: str, spec: dict[str, Any], number: int, role: str) -> tuple[str, dict[str, Any]]:
    """An object's name and spec; a ModelVersion is named after its line and number."""
    if kind != "ModelVersion":
        return f"{role}-{number}", spec
    line = spec["modelLine"]
    if line == SPECS[kind]["modelLine"]:
        line = f"{line}-{role}-{number}"
    return f"{line}-{spec['version']}", {**spec, "modelLine": line}


def is_omitted(value: Any) -> bool:
    """Whether a value stands for a property that is left out."""
    return isinstance(value, Omitted)
