"""From a CRD's OpenAPI schema to its leaves, and the values that a leaf's schema implies."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[3] / "crds"
MAP_KEY = "pool"
"""Key under which a map's value is tried."""


class Omitted:
    """Stands for a value that is left out."""

    def __repr__(self) -> str:
        return "(omitted)"


OMITTED = Omitted()


@dataclass(frozen=True)
class Leaf:
    """A property that holds a value: a scalar, or a list or map as a whole."""

    kind: str
    path: str
    """Below spec; `[]` enters a list's items and `{}` a map's values."""
    schema: Mapping[str, Any] = field(compare=False, repr=False)
    required: bool = field(compare=False)

    @property
    def name(self) -> str:
        """The property as messages name it."""
        return re.sub(r"[\[\]{}]", "", self.path.rpartition(".")[2])

    @property
    def pointer(self) -> str:
        """The path as the API server writes it."""
        return "spec." + self.path.replace("[]", "[0]").replace("{}", f".{MAP_KEY}")

    @property
    def immutable(self) -> bool:
        """Whether the property itself never changes, as its rule says."""
        rules = self.schema.get("x-kubernetes-validations", ())
        return any(rule["rule"] == "self == oldSelf" for rule in rules)

    def __str__(self) -> str:
        return f"{self.kind} spec.{self.path}"


@dataclass
class Values:
    """What a leaf is tried with."""

    valid: list[Any] = field(default_factory=list)
    boundary: list[Any] = field(default_factory=list)
    invalid: list[Any] = field(default_factory=list)
    """Refused by the API server."""
    troubled: list[tuple[Any, str]] = field(default_factory=list)
    """Accepted, then told by a condition with this reason."""
    taken: list[Any] = field(default_factory=list)
    """More valid values, of which it is enough to know that the API server takes them."""

    def missing(self) -> list[str]:
        """The sorts of values that are absent."""
        rejected = self.invalid or self.troubled
        named = (("valid", self.valid), ("boundary", self.boundary), ("invalid", rejected))
        return [name for name, values in named if not values]


def schemas() -> dict[str, Mapping[str, Any]]:
    """The schema of each kind's spec, from the files that users apply."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())["spec"]
        root = crd["versions"][0]["schema"]["openAPIV3Schema"]
        found[crd["names"]["kind"]] = root["properties"]["spec"]
    return found


def leaves(kind: str, spec: Mapping[str, Any]) -> list[Leaf]:
    """All leaves of a kind's spec."""
    return list(_leaves(kind, spec, "", required=True))


def _leaves(kind: str, node: Mapping[str, Any], path: str, *, required: bool) -> Iterator[Leaf]:
    if "properties" in node:
        for name, child in node["properties"].items():
            own = f"{path}.{name}".lstrip(".")
            yield from _leaves(kind, child, own, required=name in node.get("required", ()))
        return
    if set(node) & {"type", "x-kubernetes-int-or-string"}:
        yield Leaf(kind, path, node, required)
    # Values of any type are tried as parts of the map that has them: values.py names some.
    for mark, inner in (("[]", node.get("items")), ("{}", node.get("additionalProperties"))):
        if isinstance(inner, Mapping):
            yield from _leaves(kind, inner, path + mark, required=False)


def objects(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all objects with properties: each must refuse a property that it does not have."""
    if "properties" in node:
        yield path
        for name, child in node["properties"].items():
            yield from objects(child, f"{path}.{name}".lstrip("."))
    elif isinstance(node.get("items"), Mapping):
        yield from objects(node["items"], path + "[]")


def place(spec: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a spec with a value set (or, for OMITTED, removed) at a leaf's path."""
    made = copy.deepcopy(dict(spec))
    at: Any = made
    steps = re.findall(r"[^.\[\]{}]+|\[\]|\{\}", path)
    for number, step in enumerate(steps):
        key: Any = {"[]": 0, "{}": MAP_KEY}.get(step, step)
        if isinstance(at, list) and not at:
            at.append({})
        if number == len(steps) - 1:
            if isinstance(value, Omitted):
                at.pop(key, None)
            else:
                at[key] = copy.deepcopy(value)
            break
        following = steps[number + 1]
        if isinstance(at, dict) and at.get(key) is None:
            at[key] = [] if following == "[]" else {}
        at = at[key]
    return made


def look(spec: Any, path: str) -> Any:
    """The value at a leaf's path, OMITTED if there is none."""
    at = spec
    for step in re.findall(r"[^.\[\]{}]+|\[\]|\{\}", path):
        key: Any = {"[]": 0, "{}": MAP_KEY}.get(step, step)
        try:
            at = at[key]
        except (KeyError, IndexError, TypeError):
            return OMITTED
    return at


def derive(
    leaf: Leaf,
    examples: Mapping[str, Values],
    item: Callable[[int], Any] | None,
) -> Values:
    """The values that a leaf's schema implies.

    `examples` has values for strings by their pattern, `item` makes the entries of a list (values)
    or a map (pairs).
    """
    schema, values = leaf.schema, Values()
    if leaf.required and "default" not in schema:
        values.invalid.append(OMITTED)
    kind = schema.get("type")
    if "enum" in schema:
        _enum(schema, values)
    elif kind in ("integer", "number"):
        _number(schema, values)
    elif kind == "boolean":
        values.valid, values.boundary = [True, False], [not schema.get("default", False)]
        values.invalid += ["true", 1]
    elif kind == "string":
        _string(schema, values, examples)
    elif schema.get("x-kubernetes-int-or-string") and "pattern" in schema:
        _quantity(schema, values, examples)
    elif kind == "array" and item is not None:
        _sized(schema, values, "Items", lambda count: [item(i) for i in range(count)])
        values.invalid.append({"a": "b"})
    elif "additionalProperties" in schema and item is not None:
        _sized(schema, values, "Properties", lambda count: dict(item(i) for i in range(count)))
        values.invalid.append(["a"])
    return values


def _enum(schema: Mapping[str, Any], values: Values) -> None:
    known = list(schema["enum"])
    values.valid, values.boundary = known[:1], known[-1:]
    values.valid += known[1:-1]
    values.invalid += ["Unheard", str(known[0]).swapcase(), 1]


def _number(schema: Mapping[str, Any], values: Values) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    whole = schema["type"] == "integer"
    values.invalid += ["1", True]
    if whole:
        values.invalid.append(1.5)
    if low is None or high is None:
        return  # Nothing to derive: a bound in the schema, or values in the table.
    values.valid = [min(low + 1, high) if whole else (low + high) / 2]
    values.boundary, values.taken = [low], [high]
    values.invalid += [low - 1, high + 1] if whole else [low - 0.001, high + 0.001]
    if schema.get("exclusiveMinimum"):
        values.boundary = [low + 0.001]
        values.invalid.append(low)


def _string(schema: Mapping[str, Any], values: Values, examples: Mapping[str, Values]) -> None:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    values.invalid.append(5)
    if low:
        values.invalid.append("")
    pattern = schema.get("pattern")
    if pattern is not None:
        known = examples.get(pattern, Values())
        fits = [v for v in known.boundary if low <= len(v) <= (len(v) if high is None else high)]
        values.valid += known.valid[:1]
        values.boundary += sorted(fits, key=len)[-1:]
        values.taken += [*known.valid[1:], *(v for v in fits if v not in values.boundary)]
        values.invalid += known.invalid
        # Longer than allowed, in letters that the pattern would take.
        if fits and high is not None:
            longest = max(fits, key=len)
            values.invalid.append(longest[0] * (high - len(longest) + 1) + longest)
    elif high is not None:
        values.valid, values.boundary = ["other"], ["x" * high]
        values.invalid.append("x" * (high + 1))


def _quantity(schema: Mapping[str, Any], values: Values, examples: Mapping[str, Values]) -> None:
    low, high = schema["minimum"], schema["maximum"]
    _string(schema, values, examples)
    values.invalid.remove(5)
    values.valid.append(2)
    values.taken += [low, high]
    values.invalid += [low - 1, high + 1, 1.5, True]


def _sized(
    schema: Mapping[str, Any], values: Values, what: str, make: Callable[[int], Any]
) -> None:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if high is None:
        return
    values.valid, values.boundary, values.taken = [make(2)], [make(high)], [make(low)]
    values.invalid.append(make(high + 1))
    if low:
        values.invalid.append(make(low - 1))
