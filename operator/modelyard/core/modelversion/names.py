"""Names of a ModelVersion's children."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.naming import child_name, short_hash
from modelyard.core.plan import KubeObject

EXPORT = "export"
EVALUATE = "evaluate"


def job_name(obj: KubeObject, role: str, attempt: int) -> str:
    """The Job of one role, `export-NAME` or `evaluate-GROUP`, in one attempt."""
    return child_name(meta.name(obj), role, short_hash(meta.uid(obj), role, attempt))


def export_role(export: str) -> str:
    """Role of the Job that makes an export."""
    return f"{EXPORT}-{export}"


def evaluate_role(group: str) -> str:
    """Role of the Job that evaluates a group of artifacts."""
    return f"{EVALUATE}-{group}"
