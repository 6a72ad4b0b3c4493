"""What a pod answers: an Outcome of at most 4096 bytes, as its termination message.

The bound is Kubernetes' own for termination messages
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
"""

from __future__ import annotations

from pydantic import Field

from modelyard.api.base import Metrics, StatusModel
from modelyard.api.dataset import ClassStatus, SplitStatus
from modelyard.api.modelversion import Artifact, ArtifactEvaluation
from modelyard.contract.statustext import truncate

MAX_BYTES = 4096


class DataResult(StatusModel):
    """A checked dataset; `valid` is false when problems were found, and then nothing was
    published."""

    valid: bool
    digest: str | None = None
    images: int = 0
    size_bytes: int = 0
    splits: list[SplitStatus] = Field(default_factory=list)
    classes: list[ClassStatus] = Field(default_factory=list)
    class_count: int = 0
    problems: list[str] = Field(default_factory=list)
    """The first problems, each naming its file."""
    problem_count: int = 0


class TrainResult(StatusModel):
    """A finished training."""

    weights_digest: str
    initial_weights_digest: str | None = None
    metrics: Metrics
    epochs: int
    imgsz: int


class ExportResult(StatusModel):
    """A published artifact."""

    artifact: Artifact


class EvaluateResult(StatusModel):
    """Figures on the holdout."""

    evaluations: list[ArtifactEvaluation]


class Outcome(StatusModel):
    """What a pod answers. Exactly one result on success; reason and message on failure."""

    reason: str = "Succeeded"
    """One CamelCase word; becomes a condition's reason."""
    message: str = ""
    """What happened and what to do; becomes a condition's message."""
    data: DataResult | None = None
    train: TrainResult | None = None
    export: ExportResult | None = None
    evaluate: EvaluateResult | None = None

    def termination_message(self) -> str:
        """JSON of at most MAX_BYTES bytes: long texts are cut, then per-class rows dropped."""
        small = self.model_copy(deep=True)
        small.message = truncate(small.message)
        if small.data:
            small.data.problems = [truncate(p, 200) for p in small.data.problems[:10]]
            for one in small.data.classes:
                one.name = truncate(one.name, 60)
        text = small.model_dump_json(by_alias=True, exclude_none=True)
        while len(text.encode()) > MAX_BYTES and small.data and small.data.classes:
            keep = len(small.data.classes) * 3 // 4
            small.data.classes = small.data.classes[:keep]
            text = small.model_dump_json(by_alias=True, exclude_none=True)
        if len(text.encode()) > MAX_BYTES and small.data:
            small.data.problems = small.data.problems[:3]
            text = small.model_dump_json(by_alias=True, exclude_none=True)
        return text


def parse_outcome(message: str | None) -> Outcome | None:
    """An Outcome from a termination message; None if the pod left none or it is not ours."""
    if not message:
        return None
    try:
        return Outcome.model_validate_json(message)
    except ValueError:
        return None
