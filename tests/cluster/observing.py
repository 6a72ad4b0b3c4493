"""As much of a decision's view as the makers of a Deployment's children rely on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.core.settings import Settings


def observing(obj: dict[str, Any]) -> Any:
    """The view of a Deployment as the API server has it."""
    spec = DeploymentSpec.model_validate(obj["spec"], extra="ignore")
    return SimpleNamespace(obj=obj, spec=spec, settings=Settings())
