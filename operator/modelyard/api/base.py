"""Base types of all kinds: field naming, conditions, references, validation rules.

Docstrings of fields become the descriptions that `kubectl explain` shows (crd.py).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "modelyard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN, max_length=71)]
"""A content digest, `sha256:` and 64 hexadecimal digits."""

IMAGE_PATTERN = r"^[!-~]+$"
"""What an image reference is made of. Patterns name their characters, since `\\s` and `\\S` mean
other ones to the API server than to pydantic."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

ObjectName = Annotated[
    str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", min_length=1, max_length=253)
]
"""A Kubernetes object name (RFC 1123 subdomain)."""

LineName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)
]
"""A model line: short enough that children's names derived from it stay under 63 characters."""


def _quantity_text(value: Any) -> Any:
    """`cpu: 8` is the quantity "8", as in a pod."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _int_or_quantity(largest: int) -> dict[str, Any]:
    """The `json_schema_extra` of a quantity: a whole number from 1 to `largest`, or a text with the
    field's pattern."""
    return {"x-kubernetes-int-or-string": True, "minimum": 1, "maximum": largest}


Cpu = Annotated[
    str,
    Field(
        pattern=r"^([1-9][0-9]{0,6}m|[1-9][0-9]{0,3}(\.[0-9]{1,3})?|0?\.[0-9]{0,2}[1-9])$",
        max_length=16,
        json_schema_extra=_int_or_quantity(9999),
    ),
    BeforeValidator(_quantity_text),
]
"""CPUs as a Kubernetes quantity, such as 500m, "1.5" or 2, not finer than 1m."""

Memory = Annotated[
    str,
    Field(
        pattern=r"^([1-9][0-9]{0,17}"
        r"|([1-9][0-9]{0,5}(\.[0-9]{1,3})?|0?\.[0-9]{0,2}[1-9])(k|M|G|T|Ki|Mi|Gi|Ti))$",
        max_length=32,
        json_schema_extra=_int_or_quantity(10**15),
    ),
    BeforeValidator(_quantity_text),
]
"""Bytes as a Kubernetes quantity, such as 512Mi or 4Gi. Within what fits into 64 bits, and without
`m`, which is a thousandth of a byte."""

_QUALIFIED = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

LabelKey = Annotated[
    str, Field(pattern=rf"^(({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED})?$", max_length=317)
]
"""The key of a label or taint; may be empty."""

LabelValue = Annotated[str, Field(pattern=rf"^({_QUALIFIED})?$", max_length=63)]
"""The value of a label or taint; may be empty."""

LABEL_KEYS = {
    "rule": f"self.all(key, key.matches('^({_LABEL}(\\\\.{_LABEL})*/)?{_QUALIFIED}$'))",
    "message": "a key is no label key: a name of at most 63 letters, digits, '-', '_' and '.', "
    "with or without a DNS name and a slash before it",
}
"""CEL rule of a map whose keys are label keys: a schema has no pattern for keys."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$", max_length=32)]
"""A span of time such as 90s, 10m or 1h30m, as the Gateway API writes it (GEP-2257)."""

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def duration_seconds(text: str) -> float:
    """Seconds of a Duration."""
    return sum(
        int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text)
    )


def int_or_percent(name: str, *, least: int) -> dict[str, Any]:
    """The `json_schema_extra` of a field that is a number, or a percentage of all."""
    percent = "^([1-9][0-9]?|100)%$" if least else "^([1-9]?[0-9]|100)%$"
    return {
        "x-kubernetes-int-or-string": True,
        "maxLength": len("100%"),
        **rules(
            cel(
                f"type(self) == int ? self >= {least} : self.matches('{percent}')",
                f"{name} is a number from {least} or a percentage from {least}% to 100%",
            )
        ),
    }


def _finite(value: Any) -> Any:
    """JSON knows no NaN: a figure that is no number is left out, and then fails its gate."""
    if not isinstance(value, dict):
        return value
    return {
        k: v
        for k, v in value.items()
        if v is not None and not (isinstance(v, float) and not math.isfinite(v))
    }


Metrics = Annotated[dict[str, float], BeforeValidator(_finite)]
"""Figures by name: mAP50, mAP50to95, precision, recall, each from 0 to 1."""


class ApiModel(BaseModel):
    """Base of every API type: camelCase in YAML, snake_case here, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="null",
    )


class StatusModel(ApiModel):
    """Base of status types: tolerant, since an older operator may read a newer object."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


def cel(rule: str, message: str, **extra: Any) -> dict[str, Any]:
    """One `x-kubernetes-validations` entry: a CEL rule and what the user reads if it fails."""
    return {"rule": rule, "message": message, **extra}


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    """The `json_schema_extra` that carries CEL rules into the CRD."""
    return {"x-kubernetes-validations": list(entries)}


def exactly_one(*fields: str) -> dict[str, Any]:
    """A CEL rule: exactly one of the named fields is set."""
    terms = " + ".join(f"(has(self.{f}) ? 1 : 0)" for f in fields)
    return cel(f"{terms} == 1", f"set exactly one of {', '.join(fields)}")


class LocalReference(ApiModel):
    """Reference to an object in the same namespace; the field determines its kind."""

    name: ObjectName
    """Name of the object."""


class Condition(StatusModel):
    """One aspect of the object's state, as metav1.Condition."""

    type: str
    """What the condition is about, in CamelCase."""
    status: str = Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})
    """True, False or Unknown."""
    reason: str
    """Reason of the last transition, one CamelCase word for programs."""
    message: str = ""
    """Description for users: what happened, to which object, and what to do."""
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    """Time at which `status` last changed."""
    observed_generation: int | None = None
    """metadata.generation of the object when this condition was computed."""


class CommonStatus(StatusModel):
    """What the status of every kind has."""

    observed_generation: int | None = None
    """metadata.generation of the object when this status was computed."""
    phase: str | None = None
    """Summary of the object's state in one word. Programs should read `conditions`."""
    message: str | None = None
    """Summary of the object's state in one sentence, for users."""
    conditions: list[Condition] | None = Field(
        default=None,
        max_length=32,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Conditions of the object, for programs and `kubectl wait --for=condition=Ready`."""


class Toleration(ApiModel):
    """Allows pods on nodes with a matching taint, as in a pod's spec."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || "
                "self.value == ''",
                "operator Exists takes no value",
            ),
            cel(
                "(has(self.key) && self.key != '') || "
                "(has(self.operator) && self.operator == 'Exists')",
                "an empty key needs operator Exists",
            ),
            cel(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds needs effect NoExecute",
            ),
        )
    )

    key: LabelKey | None = None
    """Taint key; empty with operator Exists matches all."""
    operator: str | None = Field(default=None, json_schema_extra={"enum": ["Exists", "Equal"]})
    """Exists or Equal (the default)."""
    value: LabelValue | None = None
    """Taint value for Equal."""
    effect: str | None = Field(
        default=None,
        json_schema_extra={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
    )
    """Taint effect; empty matches all."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=2_147_483_647)
    """Seconds for which the pod stays on the node, for effect NoExecute; empty for no limit."""


class Scheduling(ApiModel):
    """Constraints on the nodes on which pods may run."""

    node_selector: dict[str, LabelValue] | None = Field(
        default=None, max_length=32, json_schema_extra=rules(LABEL_KEYS)
    )
    """Labels that a node must have, with their values."""
    tolerations: list[Toleration] | None = Field(default=None, max_length=32)
    """Taints that the pods tolerate."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, such as `nvidia`."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""


class Resources(ApiModel):
    """Resources of one pod. Memory is both request and limit; CPU is a request, and for Jobs also a
    limit."""

    cpu: Cpu | None = None
    """CPUs, for example `2` or `500m`. The number of worker threads follows from it. Empty for the
    operator's default."""
    memory: Memory | None = None
    """Memory, for example `4Gi`. Empty for the operator's default."""
    ephemeral_storage: Memory | None = None
    """Space on the node's disk for files of the pod, for example `200Gi` for a large dataset. A pod
    that takes more is evicted. Empty for the operator's default."""
    gpus: int | None = Field(default=None, ge=0, le=1)
    """Number of GPUs (`nvidia.com/gpu`): 0 or 1; default 0."""
