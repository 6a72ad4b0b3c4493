"""Renders CustomResourceDefinitions from the pydantic models.

The schema is a *structural* OpenAPI v3 schema
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/):
references are inlined, `null` alternatives become absence, unknown keywords are dropped.

A kind may be served in several API versions side by side (`CrdVersion`), by the rules of
docs/api-versioning.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from modelyard.api.base import GROUP, VERSION
from modelyard.api.kinds import ALL_KINDS
from modelyard.api.registration import KindInfo


@dataclass(frozen=True)
class CrdVersion:
    """One API version of a kind."""

    name: str
    """Such as `v1alpha1`."""
    served: bool = True
    """Whether clients may use it."""
    storage: bool = False
    """Whether objects are stored in it: exactly one version's are."""
    deprecation: str = ""
    """Shown to every client that uses the version; empty while it is not deprecated."""


VERSIONS: tuple[CrdVersion, ...] = (CrdVersion(VERSION, storage=True),)
"""What every kind is served in."""

KEEP = {
    "type", "description", "properties", "required", "items", "enum", "default", "format",
    "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "additionalProperties",
    "nullable",
}  # fmt: skip


class _Schema(GenerateJsonSchema):
    """Defaults as the API server needs them: by alias and without nulls."""

    def get_default_value(self, schema: Any) -> Any:
        # Pydantic leaves out what a factory makes; here factories make constants.
        factory = schema.get("default_factory")
        return factory() if factory else super().get_default_value(schema)

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_none=True)
        if isinstance(dft, list):
            return [self.encode_default(item) for item in dft]
        return super().encode_default(dft)


def _structural(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON Schema node as a structural schema node."""
    description = node.get("description")
    default = node.get("default")
    if "$ref" in node:
        beside = {k: v for k, v in node.items() if k != "$ref"}
        node = {**defs[node["$ref"].rsplit("/", 1)[-1]], **beside}
    extra = {k: v for k, v in node.items() if k.startswith("x-kubernetes-")}
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        return _structural(_alternative(node), defs)
    out: dict[str, Any] = {k: v for k, v in node.items() if k in KEEP}
    if "const" in node:
        out |= {"enum": [node["const"]], "type": "string"}
    if "x-kubernetes-int-or-string" in node:
        out.pop("type", None)
    if "properties" in out:
        out["properties"] = {k: _structural(v, defs) for k, v in out["properties"].items()}
    if "items" in out:
        out["items"] = _structural(out["items"], defs)
    _rewrite_mapping(out, defs, open_ended="x-kubernetes-preserve-unknown-fields" in extra)
    _rewrite_numbers(out)
    description = description or out.get("description")
    if description is not None:
        out["description"] = " ".join(description.split())
    if default is not None:
        out["default"] = default
    elif out.get("default", 0) is None:
        out.pop("default")
    return out | extra


def _alternative(node: Mapping[str, Any]) -> dict[str, Any]:
    """The one alternative of an `anyOf` that is not null, with what is said beside it. Raises
    TypeError where there are several: a structural schema cannot say that."""
    alternatives = [a for a in node["anyOf"] if a.get("type") != "null"]
    if len(alternatives) != 1:
        raise TypeError(f"not structural: {node}")
    # A default of null is absence; any other one is the user's to see.
    rest = {k: v for k, v in node.items() if k not in {"anyOf", "title"} and v is not None}
    return {**alternatives[0], **rest}


def _rewrite_mapping(out: dict[str, Any], defs: Mapping[str, Any], *, open_ended: bool) -> None:
    """Make `additionalProperties` structural: a schema with the mapping's bounds, or none."""
    values = out.get("additionalProperties")
    if isinstance(values, dict):
        out["additionalProperties"] = _structural(values, defs)
        # Pydantic bounds a mapping's size with the keywords of strings.
        for old, new in (("maxLength", "maxProperties"), ("minLength", "minProperties")):
            if old in out:
                out[new] = out.pop(old)
    if isinstance(values, bool) or open_ended:
        out.pop("additionalProperties", None)


def _rewrite_numbers(out: dict[str, Any]) -> None:
    """State a number's format and its exclusive bounds as OpenAPI 3.0 does."""
    if out.get("type") == "integer":
        out["format"] = "int64"
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in out:
            # A number in JSON schema; in OpenAPI 3.0 a flag beside the bound.
            out[bound.lower()] = out[f"exclusive{bound}"]
            out[f"exclusive{bound}"] = True


def schema_of(model: type[BaseModel], *, with_defaults: bool = True) -> dict[str, Any]:
    """A model as a structural schema."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_Schema)
    schema = _structural(raw, raw.get("$defs", {}))
    if not with_defaults:
        _strip_defaults(schema)
    return schema


MAX_TEXT = 4096
MAX_TIME = 64
MAX_ENTRIES = 256
"""Bounds of strings, times, lists and maps of a status that have none of their own. Every writer
stays far below: objects are kept under 20 kB, messages under 1,024 characters."""


def _bound(schema: dict[str, Any]) -> None:
    """Bound what has no bound yet.

    For statuses, which pods write too and the operator reads: their size must not be up to pods. A
    spec's bounds are part of its meaning, so its fields name them; tests/unit/api/test_bounds.py
    looks for one without.
    """
    kind = schema.get("type")
    if kind == "string" and "enum" not in schema:
        timed = schema.get("format") == "date-time"
        schema.setdefault("maxLength", MAX_TIME if timed else MAX_TEXT)
    elif kind == "array":
        schema.setdefault("maxItems", MAX_ENTRIES)
    elif kind == "object" and "properties" not in schema:
        schema.setdefault("maxProperties", MAX_ENTRIES)
    for child in schema.get("properties", {}).values():
        _bound(child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            _bound(schema[key])


def _strip_defaults(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
    for child in schema.get("properties", {}).values():
        _strip_defaults(child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            _strip_defaults(schema[key])


def render(info: KindInfo, versions: Sequence[CrdVersion] = VERSIONS) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, in the given API versions.

    All versions have the schema of the kind's models. The API server then converts between them by
    changing `apiVersion` alone, which loses no field, and no webhook is needed. Raises ValueError
    unless exactly one version is the storage version.
    """
    if [version.storage for version in versions].count(True) != 1:
        raise ValueError(f"{info.kind} needs exactly one storage version")
    spec: dict[str, Any] = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": info.kind,
            "listKind": f"{info.kind}List",
            "plural": info.plural,
            "singular": info.singular,
            "shortNames": [info.short],
            "categories": ["modelyard"],
        },
        "versions": [_version(info, version) for version in versions],
    }
    if len(versions) > 1:
        spec["conversion"] = {"strategy": "None"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": info.crd_name},
        "spec": spec,
    }


def _version(info: KindInfo, version: CrdVersion) -> dict[str, Any]:
    """An entry of `spec.versions`."""
    subresources: dict[str, Any] = {"status": {}}
    if info.scale:
        subresources["scale"] = dict(info.scale)
    rendered: dict[str, Any] = {
        "name": version.name,
        "served": version.served,
        "storage": version.storage,
        "schema": {"openAPIV3Schema": _root_schema(info)},
        "subresources": subresources,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path}
            | ({"priority": 1} if name in info.wide else {})
            for name, kind, path in info.columns
        ],
    }
    if info.selectable:
        rendered["selectableFields"] = [{"jsonPath": path} for path in info.selectable]
    if version.deprecation:
        rendered |= {"deprecated": True, "deprecationWarning": version.deprecation}
    return rendered


def _root_schema(info: KindInfo) -> dict[str, Any]:
    """The schema of a whole object."""
    status = schema_of(info.status, with_defaults=False)
    _bound(status)
    # The first paragraph is for users; the next say where in the code to look.
    about = (sys.modules[info.spec.__module__].__doc__ or "").partition("\n\n")[0]
    root: dict[str, Any] = {
        "type": "object",
        "description": " ".join(about.split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(info.spec),
            "status": status,
        },
    }
    if info.root_rules:
        root["x-kubernetes-validations"] = [dict(r) for r in info.root_rules]
    return root


def write_all(folder: Path) -> list[Path]:
    """Write one YAML file a kind into a folder; returns the paths."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for info in ALL_KINDS:
        path = folder / f"{info.crd_name}.yaml"
        text = yaml.safe_dump(render(info), sort_keys=False, width=100, allow_unicode=True)
        path.write_text(
            "# Generated by `make crds` from operator/modelyard/api. Do not edit.\n" + text
        )
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_all(Path(sys.argv[1] if len(sys.argv) > 1 else "crds")):
        print(written)
