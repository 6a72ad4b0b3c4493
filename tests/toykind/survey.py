"""Survey: a toy kind, as `api/survey.py` would be. It measures a Dataset, after another Survey."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from modelyard.api.base import ApiModel, CommonStatus, LocalReference
from modelyard.api.registration import AGE, KindInfo, Reporter, Use


class SurveySpec(ApiModel):
    """What the user declares of a survey."""

    dataset: LocalReference
    """Dataset to measure."""
    after: LocalReference | None = None
    """Survey to compare with."""
    sample: int = Field(default=100, ge=1, le=10_000)
    """Images to look at."""


class SurveyStatus(CommonStatus):
    """What was found out."""

    progress: int | None = None
    """Images that were looked at (written by the pod itself)."""
    pod_name: str | None = None
    """The pod that may report progress."""
    run_hash: str | None = None
    """Hash of what was started."""
    used_by: list[str] | None = Field(default=None, max_length=5)
    """The first objects that need this one; while there are any, it cannot be deleted."""


class SurveyPhase(StrEnum):
    """Where a Survey is in its life."""

    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


_ENDED = frozenset({SurveyPhase.DONE, SurveyPhase.FAILED})

KIND = KindInfo(
    kind="Survey",
    plural="surveys",
    short="sv",
    spec=SurveySpec,
    status=SurveyStatus,
    columns=(
        ("Phase", "string", ".status.phase"),
        ("Sample", "integer", ".spec.sample"),
        ("Seen", "integer", ".status.progress"),
        AGE,
    ),
    phases=SurveyPhase,
    good=frozenset({SurveyPhase.DONE}),
    bad=frozenset({SurveyPhase.FAILED}),
    uses=(
        Use(
            "Dataset",
            "{.spec.dataset.name}",
            protects=True,
            until=_ENDED,
            pinned_by=".status.runHash",
            parent=True,
        ),
        Use("Survey", "{.spec.after.name}", protects=True),
    ),
    reporter=Reporter(
        who="surveyor", pod=".status.podName", fields=("progress",), reads=("Survey",)
    ),
    example={"dataset": {"name": "digits"}},
    example_name="monday",
    components={"survey": {"cpu": "1", "memory": "512Mi"}},
)
