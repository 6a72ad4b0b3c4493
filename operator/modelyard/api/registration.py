"""How a kind is registered: KindInfo says everything about a kind that is not in its fields.

Each `api/<kind>.py` ends with its `KIND`, and `api/kinds.py` lists them. What follows from them is
derived: CRDs (crd.py), the chart's access and admission (chart.py), the reference (reference.py),
triggers, indexes and usedBy (core/references.py), controllers (core/controllers.py), the CLI's tree
(cli/chain.py) and the parameters of tests. docs/adding-a-kind.md walks through it.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from modelyard.api.base import API_VERSION, GROUP

AGE = ("Age", "date", ".metadata.creationTimestamp")
"""The last printer column of every kind."""


@dataclass(frozen=True)
class Use:
    """That objects of a kind name objects of another kind in the same namespace."""

    kind: str
    """The kind that is named."""
    name: str
    """Where the name stands, as a template of `kubectl -o jsonpath`, such as
    `{.spec.dataset.name}`. `[*]` goes through a list; a name may be put together from several
    fields. An object that lacks one of the fields names nothing."""
    protects: bool = False
    """Whether the named object is in use: it lists the user in `status.usedBy` and cannot be
    deleted. Its kind's status needs the field `usedBy`."""
    until: frozenset[str] = frozenset()
    """Phases of the user in which it no longer needs the named object."""
    pinned_by: str | None = None
    """JSONPath of a field of the user that is set once it no longer depends on what becomes of the
    named object. Until then each change of that one reconciles the user. None: it does not
    depend on it at all."""
    notifies: bool = False
    """Whether a change of the user reconciles the named object; `protects` implies it."""
    parent: bool = False
    """Whether `modelyard status` draws the user below the named object. Its kind must come earlier
    in ALL_KINDS: no circles. Of several parents, the first that exists counts."""


@dataclass(frozen=True)
class Selection:
    """That objects of a kind depend on all objects of another kind that have a value in common
    with them: each change of one of those reconciles them."""

    kind: str
    """The kind that is selected."""
    index: str
    """Name of the index of both kinds by that value, for View.select and View.projections."""
    own: str
    """Template of the value in the object that selects."""
    theirs: str
    """Template of the value in the objects that are selected."""


@dataclass(frozen=True)
class Reporter:
    """That pods write into the status of a kind, each with the token of its own pod."""

    who: str
    """Component of these pods, such as trainer. Their service account is the chart's value
    `workloads.<who>ServiceAccount`, or else `modelyard-<who>`."""
    pod: str
    """JSONPath, in the object, of the name of the one pod that may report."""
    fields: tuple[str, ...] = ()
    """Fields of the status that it may change, which the operator leaves alone; empty: all, for a
    kind without a controller."""
    reads: tuple[str, ...] = ()
    """Kinds whose objects it may read."""


@dataclass(frozen=True)
class Verdict:
    """That a kind's status is a verdict: nobody but the operator writes it, and once it is spoken,
    what it rests on never changes."""

    phases: tuple[str, ...]
    """Phases in which it is spoken."""
    fields: tuple[str, ...]
    """Fields of the status that are final then."""


@dataclass(frozen=True)
class KindInfo:
    """Everything about a kind that is not in its fields."""

    kind: str
    plural: str
    short: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str], ...]
    """Printer columns: name, type, JSONPath."""
    phases: type[StrEnum]
    """What `status.phase` can be."""
    example: Mapping[str, Any]
    """A minimal valid spec, for the reference and for tests."""
    example_name: str = "example"
    """A name that goes with it."""
    good: frozenset[str] = frozenset()
    """Phases in which everything is as it should be."""
    bad: frozenset[str] = frozenset()
    """Phases in which somebody has to do something."""
    wide: frozenset[str] = frozenset()
    """Columns shown only with `-o wide`."""
    scale: Mapping[str, str] | None = None
    selectable: tuple[str, ...] = ()
    """JSONPaths that `kubectl get --field-selector` may use."""
    root_rules: tuple[Mapping[str, Any], ...] = field(default=())
    uses: tuple[Use, ...] = ()
    """Which other objects it names."""
    selects: tuple[Selection, ...] = ()
    """Which other objects it depends on without naming them."""
    reporter: Reporter | None = None
    """The pods that write into its status."""
    verdict: Verdict | None = None
    declared: bool = True
    """Whether users create its objects; otherwise the operator does alone."""
    operator_verbs: tuple[str, ...] = ()
    """What the operator does with its objects besides reading them and writing their status."""
    reconciled: bool = True
    """Whether it has a controller: `CONTROLLER` in `core/<kind>/decide.py`."""
    numerous: bool = False
    """Whether there may be thousands, so that nothing lists them all."""
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Default CPU and memory of the pods that work for it, by component: the chart's values
    `workloads.resources`."""

    @property
    def singular(self) -> str:
        """The kind's name in lower case."""
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition: plural and group."""
        return f"{self.plural}.{GROUP}"

    @property
    def module(self) -> str:
        """Package of its decisions."""
        return f"modelyard.core.{self.singular}"

    def manifest(self, name: str | None = None, namespace: str | None = None) -> dict[str, Any]:
        """The example as a whole object."""
        metadata = {"name": name or self.example_name}
        if namespace:
            metadata["namespace"] = namespace
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": metadata,
            "spec": copy.deepcopy(dict(self.example)),
        }


def read(path: str, obj: Mapping[str, Any]) -> Sequence[Any]:
    """The values at a JSONPath such as `.spec.sources[*].name`; none where a field is missing."""
    return _values(_keys(path), obj)


def fill(text: str, obj: Mapping[str, Any]) -> tuple[str, ...]:
    """What a template says of an object: one text for each combination of its fields' values."""
    return template(text)(obj)


@functools.cache
def template(text: str) -> Callable[[Mapping[str, Any]], tuple[str, ...]]:
    """A template as a function, for `fill` many times."""
    parts = re.split(r"\{(\.[^{}]+)\}", text)
    literals, paths = parts[::2], [_keys(path) for path in parts[1::2]]
    if literals == ["", ""] and "[*]" not in paths[0]:
        return _field(paths[0])

    def fill_in(obj: Mapping[str, Any]) -> tuple[str, ...]:
        found = [_values(keys, obj) for keys in paths]
        return tuple(_join(literals, row) for row in itertools.product(*found))

    return fill_in


def _join(literals: Sequence[str], values: Sequence[Any]) -> str:
    """The texts around the fields, one more than there are fields, with the fields' values."""
    after = (f"{one}{text}" for one, text in zip(values, literals[1:], strict=True))
    return literals[0] + "".join(after)


def _field(keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[str, ...]]:
    """A template of one field alone. Indexes ask it of every object that the cache takes in."""

    def fill_in(obj: Mapping[str, Any]) -> tuple[str, ...]:
        at: Any = obj
        try:
            for key in keys:
                at = at[key]
        except (KeyError, TypeError, IndexError):
            return ()
        return () if at is None or at == "" else (str(at),)

    return fill_in


@functools.cache
def _keys(path: str) -> tuple[str, ...]:
    return tuple(key for key in path.replace("[*]", ".[*]").split(".") if key)


def _values(keys: tuple[str, ...], at: Any) -> Sequence[Any]:
    for number, key in enumerate(keys):
        if key == "[*]":
            rest = keys[number + 1 :]
            items = at if isinstance(at, list) else ()
            return [value for item in items for value in _values(rest, item)]
        try:
            at = at[key]
        except (KeyError, TypeError, IndexError):
            return ()
    return () if at is None or at == "" else (at,)
