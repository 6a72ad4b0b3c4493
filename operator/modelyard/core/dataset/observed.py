"""What a Dataset's decision looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.api.dataset import DatasetSpec
from modelyard.core import meta
from modelyard.core.dataset import names
from modelyard.core.jobstate import JobState, read_job
from modelyard.core.plan import KubeObject, View
from modelyard.core.references import used_by
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec


@dataclass(frozen=True)
class Observed:
    """A Dataset with its Job."""

    obj: KubeObject
    spec: DatasetSpec
    settings: Settings
    run_hash: str
    attempt: int
    job_name: str
    job: JobState
    other_jobs: tuple[KubeObject, ...]
    """Jobs of earlier specs or attempts."""
    used_by: list[str] | None


@OfSpec
def _spec(spec: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(spec, extra="ignore")


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec = _spec(obj)
    run_hash = names.run_hash(obj, spec)
    status = meta.status(obj)
    attempt = int(status.get("attempt", 0)) if status.get("runHash") == run_hash else 0
    job_name = names.job_name(obj, spec, run_hash, attempt)
    jobs = view.children(obj, "Job")
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        run_hash=run_hash,
        attempt=attempt,
        job_name=job_name,
        job=read_job(view, obj, job_name),
        other_jobs=tuple(j for j in jobs if meta.name(j) != job_name and not meta.deleting(j)),
        used_by=used_by(view, obj, "Dataset"),
    )
