"""What a kind registers makes sense, and the templates that it names fields with."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api import ALL_KINDS, KindInfo, kind_info
from modelyard.api.crd import render
from modelyard.api.registration import fill, read

KINDS = {info.kind for info in ALL_KINDS}

each_kind = pytest.mark.parametrize("info", ALL_KINDS, ids=lambda info: info.kind)


def has(schema: dict[str, Any], path: str) -> bool:
    """Whether a CRD's schema has a JSONPath."""
    for key in path.strip(".").replace("[*]", ".[*]").split("."):
        of_map = schema.get("additionalProperties")
        inner = schema.get("items") if key == "[*]" else schema.get("properties", {}).get(key)
        if inner is None and not isinstance(of_map, dict):
            return False
        schema = inner or of_map or {}
    return True


def paths(info: KindInfo) -> set[str]:
    """Every JSONPath of its own objects that a registration names."""
    found = {path for _, _, path in info.columns if not path.startswith(".metadata")}
    found |= set(info.selectable) | set((info.scale or {}).values())
    templates = [use.name for use in info.uses] + [one.own for one in info.selects]
    found |= {part.split("}")[0] for text in templates for part in text.split("{")[1:]}
    found |= {use.pinned_by for use in info.uses if use.pinned_by}
    if info.reporter:
        found |= {info.reporter.pod, *(f".status.{field}" for field in info.reporter.fields)}
    if info.verdict:
        found |= {f".status.{field}" for field in info.verdict.fields}
    return found


@each_kind
def test_every_path_is_a_field(info: KindInfo) -> None:
    schema = render(info)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [path for path in sorted(paths(info)) if not has(schema, path)] == []


@each_kind
def test_kinds_and_phases_that_it_names_exist(info: KindInfo) -> None:
    named = [use.kind for use in info.uses] + [one.kind for one in info.selects]
    assert {*named, *(info.reporter.reads if info.reporter else ())} <= KINDS
    words = {*info.good, *info.bad, *(phase for use in info.uses for phase in use.until)}
    words |= set(info.verdict.phases if info.verdict else ())
    assert words <= set(info.phases)
    assert info.good
    assert not info.good & info.bad


@each_kind
def test_what_is_protected_shows_its_users(info: KindInfo) -> None:
    for use in info.uses:
        if use.protects:
            assert "used_by" in kind_info(use.kind).status.model_fields
            assert kind_info(use.kind).reconciled


@each_kind
def test_the_operator_and_pods_share_a_status_by_fields(info: KindInfo) -> None:
    if info.reporter and info.reconciled:
        assert info.reporter.fields


@each_kind
def test_it_hangs_below_kinds_that_come_earlier(info: KindInfo) -> None:
    order = [one.kind for one in ALL_KINDS]
    for use in info.uses:
        assert not use.parent or order.index(use.kind) < order.index(info.kind)


@each_kind
def test_the_example_is_valid(info: KindInfo) -> None:
    info.spec.model_validate(info.manifest()["spec"])


def test_names_are_unique() -> None:
    for names in (
        [info.kind for info in ALL_KINDS],
        [info.plural for info in ALL_KINDS],
        [info.short for info in ALL_KINDS],
        [info.reporter.who for info in ALL_KINDS if info.reporter],
    ):
        assert len(names) == len(set(names))


OBJ = {
    "spec": {
        "line": "shelf",
        "n": 3,
        "sources": [{"ref": {"name": "a"}}, {}, {"ref": {"name": "b"}}],
    }
}


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{.spec.line}", ("shelf",)),
        ("{.spec.line}-{.spec.n}", ("shelf-3",)),
        ("{.spec.line}-{.spec.none}", ()),
        ("{.spec.none.name}", ()),
        ("{.spec.sources[*].ref.name}", ("a", "b")),
        ("{.spec.line}-{.spec.sources[*].ref.name}", ("shelf-a", "shelf-b")),
        ("{.spec.line[*].name}", ()),
        ("fixed", ("fixed",)),
    ],
)
def test_templates(template: str, wanted: tuple[str, ...]) -> None:
    assert fill(template, OBJ) == wanted


def test_paths() -> None:
    assert list(read(".spec.n", OBJ)) == [3]
    assert list(read(".status.n", OBJ)) == []
