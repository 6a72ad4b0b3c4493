"""Labels and annotations on everything that the operator makes."""

from __future__ import annotations

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
MANAGER = "modelyard"

OWNER = "modelyard.dev/owner"
"""Annotation `Kind/name` of the object that a child works for."""
OWNER_UID = "modelyard.dev/owner-uid"
"""Label with that object's UID."""
SPEC_HASH = "modelyard.dev/spec-hash"
"""Annotation of a training Job: hash of the TrainingJob's spec that it was made from."""
MODEL_LINE = "modelyard.dev/model-line"
ROLE = "modelyard.dev/role"
"""Label: what a Job of a ModelVersion does, such as export-onnx or evaluate."""

TARGET = "modelyard.dev/target"
"""Label of serving pods and ModelServers: cluster or edge."""
TEMPLATE = "modelyard.dev/template"
"""Label of edge serving pods: hash of the template that they were made from. Annotation of the apps
Deployment of a cluster target: hash of the template that it has."""
TEMPLATE_SINCE = "modelyard.dev/template-since"
"""Annotation of an edge Deployment's DaemonSet: when it got its present template."""
SERVES = "modelyard.dev/serves"
"""Label of serving pods behind a Gateway: which release answers, empty while it is about to
change."""


def labels(*, component: str, owner_name: str, owner_uid: str) -> dict[str, str]:
    """The labels that every child carries."""
    return {
        NAME: "modelyard",
        MANAGED_BY: MANAGER,
        COMPONENT: component,
        INSTANCE: owner_name[:63].rstrip("-."),
        OWNER_UID: owner_uid,
    }
