"""A Deployment as its children's makers look at it: the object, its spec and the settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.core.settings import Settings


def wanting(name: str = "cameras", **spec: Any) -> Any:
    """As much of Observed as makers rely on."""
    body = {"modelLine": "shelf", **spec}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1}
    return SimpleNamespace(
        obj={"metadata": metadata, "spec": body, "status": {}},
        spec=DeploymentSpec.model_validate(body),
        settings=Settings(),
    )


def cluster(**target: Any) -> Any:
    """A Deployment with a cluster target."""
    return wanting(target={"cluster": target})


EDGE = {"edge": {"nodeSelector": {"camera": "yes"}}}


Children = dict[tuple[str, str], dict[str, Any]]


def existing(*objects: dict[str, Any]) -> Children:
    """Objects that exist, by kind and name."""
    for one in objects:
        one["metadata"].setdefault("uid", f"uid-of-{one['kind']}")
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}
