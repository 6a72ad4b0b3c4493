"""What a TrainingJob's decision looks at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from modelyard.api.trainingjob import TrainingJobSpec
from modelyard.contract import paths
from modelyard.core import meta
from modelyard.core.jobs import JobState, job_state
from modelyard.core.naming import short_hash
from modelyard.core.plan import Manifest, View
from modelyard.core.settings import Settings
from modelyard.core.trainingjob import names


@dataclass(frozen=True)
class Observed:
    """A TrainingJob with its inputs, its Job and its output."""

    obj: Manifest
    spec: TrainingJobSpec
    settings: Settings
    attempt: int
    job_name: str
    job: JobState
    dataset: Manifest | None
    base_version: Manifest | None
    """The ModelVersion to fine-tune, if one is named and exists."""
    version: Manifest | None
    """The ModelVersion that came out of this very TrainingJob."""
    next_number: int
    """Lowest number that no version of the line has or had."""
    spec_hash: str
    """Hash of what a run is made from."""

    @property
    def started_run(self) -> dict[str, Any] | None:
        """The run spec that the Job was made with: what was pinned, whatever changed since."""
        if self.job.job is None:
            return None
        annotations = self.job.job["spec"]["template"]["metadata"].get("annotations") or {}
        text = annotations.get(paths.RUN_ANNOTATION)
        return None if text is None else json.loads(text)


def observe(view: View, obj: Manifest, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec = TrainingJobSpec.model_validate(obj["spec"], extra="ignore")
    space, own = meta.namespace(obj), meta.uid(obj)
    attempt = int(meta.status(obj).get("attempt", 0))
    job_name = names.job_name(obj, attempt)
    job = view.get("Job", space, job_name)
    line = spec.output.model_line
    versions = list(view.select("ModelVersion", space, "model-line", line))
    named = [str(v["spec"]["version"]) for v in versions]
    for training in view.select("TrainingJob", space, "model-line", line):
        # A deleted version's number is not used again as long as its training is remembered.
        prefix, _, number = str(meta.status(training).get("modelVersion", "")).rpartition("-")
        if prefix == line:
            named.append(number)
    base = spec.base_version
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        attempt=attempt,
        job_name=job_name,
        job=job_state(job, view.children(own, "Pod")),
        dataset=view.get("Dataset", space, spec.dataset.name),
        base_version=view.get("ModelVersion", space, base.name) if base else None,
        version=next((v for v in versions if trained_by(v) == own), None),
        next_number=max((int(n) for n in named if n.isdigit()), default=0) + 1,
        spec_hash=short_hash(spec.model_dump(mode="json", exclude={"suspend"}, exclude_none=True)),
    )


def trained_by(version: Manifest) -> str | None:
    """UID of the TrainingJob that a ModelVersion came out of."""
    training = (version["spec"].get("lineage") or {}).get("trainingJob") or {}
    return training.get("uid")
