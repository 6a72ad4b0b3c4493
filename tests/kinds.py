"""What tests are repeated for: lists of our kinds that follow from their registrations.

A kind that is registered in api/kinds.py is in all of them that concern it; nothing is added here.
"""

from __future__ import annotations

import copy
from graphlib import TopologicalSorter
from typing import Any

from modelyard.api import ALL_KINDS, KindInfo, kind_info
from modelyard.api.crd import schema_of

EXAMPLES: dict[str, dict[str, Any]] = {info.kind: dict(info.example) for info in ALL_KINDS}
"""A valid spec of each kind."""
PLURALS = {info.kind: info.plural for info in ALL_KINDS}
RECONCILED = tuple(info.kind for info in ALL_KINDS if info.reconciled)
"""Kinds with a controller."""
MADE_BY_OPERATOR = tuple(info.kind for info in ALL_KINDS if "create" in info.operator_verbs)
"""Kinds whose objects are children of others (too)."""
OPERATORS_ALONE = tuple(info.kind for info in ALL_KINDS if not info.declared)
"""Kinds of which the operator alone makes objects."""
REPORTED = tuple(info for info in ALL_KINDS if info.reporter)
"""Kinds whose status pods write into."""
VERDICTS = {info.kind: info.verdict for info in ALL_KINDS if info.verdict}
"""Kinds whose status is final at some point."""


def immutable(info: KindInfo) -> bool:
    """Whether a kind's schema refuses every change of the spec."""
    rules = schema_of(info.spec).get("x-kubernetes-validations", ())
    return any(rule["rule"] == "self == oldSelf" for rule in rules)


IMMUTABLE = tuple(info.kind for info in ALL_KINDS if immutable(info))
CHANGEABLE = tuple(info.kind for info in ALL_KINDS if not immutable(info))


def _protecting(info: KindInfo) -> dict[str, None]:
    return dict.fromkeys(use.kind for use in info.uses if use.protects)


def users_of(kind: str) -> list[str]:
    """Kinds whose objects keep objects of a kind from being deleted."""
    return [info.kind for info in ALL_KINDS if kind in _protecting(info)]


PROTECTED = tuple(info.kind for info in ALL_KINDS if users_of(info.kind))
"""Kinds whose objects cannot be deleted while they are in use."""


def _users_first() -> tuple[str, ...]:
    used = {info.kind: [one for one in _protecting(info) if one != info.kind] for info in ALL_KINDS}
    order = tuple(TopologicalSorter(used).static_order())
    return tuple(kind for kind in reversed(order) if kind_info(kind).declared)


DECLARED = _users_first()
"""What users create; users before what they use, so that all can be deleted in this order."""


def example(kind: str, stem: str, number: int = 1) -> tuple[str, dict[str, Any]]:
    """A name and a valid spec: names and specs of some kinds depend on each other."""
    spec = copy.deepcopy(EXAMPLES[kind])
    if kind == "ModelVersion":
        return f"{stem}-{number}", {**spec, "modelLine": stem, "version": number}
    return stem, spec
