"""What `fetch` knows of the holdout and tells the stages after it, without its labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modelyard.api.base import StatusModel

FILE = "task.json"
DATASET = "dataset"
"""Folder of the holdout within `inputs`, in Ultralytics' layout, without labels."""
MIN_DETECTIONS = 300
"""Detections per image that count, unless an image has more labels: Ultralytics' own default."""


class Task(StatusModel):
    """The holdout."""

    classes: list[str] = Field(min_length=1)
    """Class names, by class id."""
    images: list[str] = Field(min_length=1)
    """Paths of the split's images below its folder, sorted."""
    max_detections: int = MIN_DETECTIONS
    """Maximum number of detections per image."""
    imgsz: int | None = None
    """Size at which the weights are evaluated, that of the artifacts; None is their own."""

    @classmethod
    def read(cls, inputs: Path) -> Task:
        """The task from `inputs`, which only `fetch` writes."""
        return cls.model_validate_json((inputs / FILE).read_bytes())

    def leave(self, inputs: Path) -> None:
        """Write the task into `inputs`."""
        (inputs / FILE).write_text(self.model_dump_json(by_alias=True), encoding="utf-8")
