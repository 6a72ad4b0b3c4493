"""What a ModelVersion's decision looks at.

One snapshot, taken once, of the version's own Jobs with their results. Artifacts and figures come
from the status where it has them, so that a Job that is cleaned up afterwards takes nothing with
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.api.evaluation import ArtifactEvaluation, VersionProfile
from modelyard.api.export import Artifact, Export
from modelyard.api.modelversion import ModelVersionSpec, ModelVersionStatus
from modelyard.contract.result import EvaluateResult, ExportResult
from modelyard.core import meta
from modelyard.core.jobstate import JobState, read_job
from modelyard.core.modelversion import names, reasons
from modelyard.core.plan import KubeObject, View
from modelyard.core.references import used_by
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec

CPU_GROUP = "cpu"


@dataclass(frozen=True)
class Group:
    """Artifacts that are evaluated by one Job, since they need the same hardware."""

    role: str
    exports: tuple[Export, ...]
    include_source: bool

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the artifacts that the group's Job evaluates."""
        own = tuple(e.name for e in self.exports)
        return (reasons.SOURCE, *own) if self.include_source else own


@dataclass(frozen=True)
class Observed:
    """A ModelVersion with its Jobs."""

    obj: KubeObject
    spec: ModelVersionSpec
    settings: Settings
    attempt: int
    jobs: dict[str, JobState]
    """By role."""
    groups: tuple[Group, ...]
    artifacts: dict[str, Artifact]
    """By name: recorded in the status, or just published by an export Job."""
    evaluations: dict[str, ArtifactEvaluation]
    """By artifact: recorded in the status, or just reported by an evaluation Job."""
    profile: VersionProfile | None
    """Likewise."""
    used_by: list[str] | None


@OfSpec
def _spec(spec: Any) -> ModelVersionSpec:
    return ModelVersionSpec.model_validate(spec, extra="ignore")


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec = _spec(obj)
    status = ModelVersionStatus.model_validate(meta.status(obj))
    attempt = status.attempt or 0
    groups = evaluation_groups(spec)
    roles = (*(names.export_role(e.name) for e in spec.exports), *(g.role for g in groups))
    jobs = {role: read_job(view, obj, names.job_name(obj, role, attempt)) for role in roles}
    # What is recorded wins: a version's figures never change once written.
    artifacts = {a.name: a for a in status.artifacts or ()}
    evaluations = {e.artifact: e for e in status.evaluations or ()}
    profile = status.profile
    for state in jobs.values():
        outcome = state.outcome if state.succeeded else None
        exported = outcome.of(ExportResult) if outcome else None
        if exported:
            artifacts.setdefault(exported.artifact.name, exported.artifact)
        evaluated = outcome.of(EvaluateResult) if outcome else None
        for one in evaluated.evaluations if evaluated else ():
            evaluations.setdefault(one.artifact, one)
        profile = profile or (evaluated.profile if evaluated else None)
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        attempt=attempt,
        jobs=jobs,
        groups=groups,
        artifacts=artifacts,
        evaluations=evaluations,
        profile=profile,
        used_by=used_by(view, obj, "ModelVersion"),
    )


def evaluation_groups(spec: ModelVersionSpec) -> tuple[Group, ...]:
    """ONNX artifacts, and the source weights, on CPU; engines on a node with their GPU type. None
    where the version says that nothing is to be evaluated."""
    if spec.evaluation.skip:
        return ()
    onnx = tuple(e for e in spec.exports if e.format == "onnx")
    source = spec.weights.format == "pt"
    groups = []
    if onnx or source:
        groups.append(Group(names.evaluate_role(CPU_GROUP), onnx, source))
    groups.extend(
        Group(names.evaluate_role(e.name), (e,), False)
        for e in spec.exports
        if e.format == "tensorrt"
    )
    return tuple(groups)
