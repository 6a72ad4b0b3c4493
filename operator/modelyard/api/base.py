"""What every kind is built from: field naming, conditions, references, validation rules."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "modelyard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN, max_length=71)]
"""A content digest, `sha256:` and 64 hexadecimal digits."""

ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
"""A Kubernetes object name (RFC 1123 subdomain)."""

LineName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)
]
"""A model line: short enough that children's names derived from it stay under 63 characters."""

Quantity = Annotated[
    str,
    Field(pattern=r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|[kKMGTPE]i?|[eE][+-]?[0-9]+)?$", max_length=32),
]
"""A Kubernetes resource quantity, such as 500m, 2 or 4Gi; quote bare numbers."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""


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
    """Names an object of a known kind in the same namespace."""

    name: ObjectName
    """Name of the object."""


class Condition(StatusModel):
    """One aspect of the object's state, as metav1.Condition."""

    type: str
    """What the condition is about, in CamelCase."""
    status: str = Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})
    """True, False or Unknown."""
    reason: str
    """One CamelCase word for programs."""
    message: str = ""
    """What happened, to which object, and what to do."""
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    """When the status last changed."""
    observed_generation: int | None = None
    """The object's generation that this condition was computed for."""


class CommonStatus(StatusModel):
    """What the status of every kind has."""

    observed_generation: int | None = None
    """The object's generation that this status was computed for."""
    phase: str | None = None
    """Where the object is in its life, in one word for people."""
    message: str | None = None
    """The most useful sentence about the object's state, for people."""
    conditions: list[Condition] | None = Field(
        default=None,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """The object's state for programs: `kubectl wait --for=condition=Ready` works."""


class Toleration(ApiModel):
    """Lets pods onto nodes with a matching taint, as in a pod's spec."""

    key: str | None = Field(default=None, max_length=317)
    """Taint key; empty with operator Exists matches all."""
    operator: str | None = Field(default=None, json_schema_extra={"enum": ["Exists", "Equal"]})
    """Exists or Equal (the default)."""
    value: str | None = Field(default=None, max_length=63)
    """Taint value for Equal."""
    effect: str | None = Field(
        default=None,
        json_schema_extra={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
    )
    """Taint effect; empty matches all."""
    toleration_seconds: int | None = None
    """For NoExecute: how long the pod stays."""


class Scheduling(ApiModel):
    """Where pods may run."""

    node_selector: dict[str, str] | None = Field(default=None, max_length=32)
    """Labels that a node must have."""
    tolerations: list[Toleration] | None = Field(default=None, max_length=32)
    """Taints that the pods accept."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, such as `nvidia`."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""


class Resources(ApiModel):
    """What one pod gets. Memory is both request and limit; CPU is a request, and for Jobs a limit
    too."""

    cpu: Quantity | None = None
    """CPU, for example `2` or `500m`. Worker threads follow it."""
    memory: Quantity | None = None
    """Memory, for example `4Gi`."""
    gpus: int | None = Field(default=None, ge=0, le=1)
    """GPUs (`nvidia.com/gpu`): none or one."""
