"""What a TrainingJob's decision looks at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelyard.api.trainingjob import TrainingJobSpec
from modelyard.contract import labels, paths
from modelyard.core import meta
from modelyard.core.jobstate import JobState, read_job
from modelyard.core.naming import short_hash
from modelyard.core.plan import KubeObject, View
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec
from modelyard.core.trainingjob import names


@dataclass(frozen=True)
class Observed:
    """A TrainingJob with its inputs, its Job and its output."""

    obj: KubeObject
    spec: TrainingJobSpec
    settings: Settings
    attempt: int
    job_name: str
    job: JobState
    dataset: KubeObject | None
    base_version: KubeObject | None
    """The ModelVersion to fine-tune, if one is named and exists."""
    version: KubeObject | None
    """The ModelVersion that came out of this very TrainingJob."""
    taken_numbers: tuple[Iterable[int], ...]
    """Numbers that versions of the line have or had."""
    spec_hash: str
    """Hash of what a run is made from."""

    @property
    def next_number(self) -> int:
        """Lowest number above all that versions of the line have or had. There may be thousands,
        so they are looked at only when a version is made."""
        return max(itertools.chain.from_iterable(self.taken_numbers), default=0) + 1

    @property
    def made_from(self) -> str | None:
        """Hash of the spec that the Job was made from; None without one, or if an older operator
        made it."""
        return meta.annotation(self.job.job, labels.SPEC_HASH) if self.job.job else None

    @property
    def correctable(self) -> bool:
        """Whether the spec was edited while no pod of the Job has started: nothing is lost if the
        Job is made again."""
        if self.made_from in (None, self.spec_hash) or self.job.started:
            return False
        return not meta.status(self.obj).get("podName")

    @property
    def started_run(self) -> dict[str, Any] | None:
        """The run spec that the Job was made with: what was pinned, whatever changed since."""
        if self.job.job is None:
            return None
        annotations = self.job.job["spec"]["template"]["metadata"].get("annotations") or {}
        text = annotations.get(paths.RUN_ANNOTATION)
        return None if text is None else json.loads(text)


@OfSpec
def _read(spec: Any) -> tuple[TrainingJobSpec, str]:
    """The spec, and the hash of what a run is made from."""
    read = TrainingJobSpec.model_validate(spec, extra="ignore")
    made_from = read.model_dump(mode="json", exclude={"suspend"}, exclude_none=True)
    return read, short_hash(made_from)


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec, spec_hash = _read(obj)
    space, own = meta.namespace(obj), meta.uid(obj)
    attempt = int(meta.status(obj).get("attempt", 0))
    job_name = names.job_name(obj, attempt)
    line, base = spec.output.model_line, spec.base_version
    taken = (
        view.projections("ModelVersion", space, "number", line),
        view.projections("TrainingJob", space, "number-made", line),
    )
    versions = view.select("ModelVersion", space, "trained-by", own)
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        attempt=attempt,
        job_name=job_name,
        job=read_job(view, obj, job_name),
        dataset=view.get("Dataset", space, spec.dataset.name),
        base_version=view.get("ModelVersion", space, base.name) if base else None,
        version=next(iter(versions), None),
        taken_numbers=taken,
        spec_hash=spec_hash,
    )
