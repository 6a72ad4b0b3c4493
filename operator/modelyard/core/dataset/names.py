"""Names of a Dataset's children."""

from __future__ import annotations

from modelyard.api.dataset import DatasetSpec
from modelyard.core import meta
from modelyard.core.naming import child_name, short_hash
from modelyard.core.plan import KubeObject


def run_hash(obj: KubeObject, spec: DatasetSpec) -> str:
    """Identifies what is resolved: source, format, rules, and the user's wish to try again."""
    wanted = spec.model_dump(
        mode="json", exclude_none=True, include={"source", "format", "data_file", "quality"}
    )
    return short_hash(wanted, meta.annotation(obj, meta.RETRY))


def job_name(obj: KubeObject, spec: DatasetSpec, run: str, attempt: int) -> str:
    """The Job of one attempt to resolve one spec. Other resources or another place make another
    Job, since a Job's pods cannot change: so a pod that did not fit is corrected by an edit."""
    pod = spec.model_dump(mode="json", exclude_none=True, include={"resources", "scheduling"})
    return child_name(meta.name(obj), "data", short_hash(meta.uid(obj), run, attempt, pod))
