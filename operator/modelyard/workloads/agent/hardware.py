"""What a server runs on, and how a version is served there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard.api.modelserver import Assignment
from modelyard.serving.settings import ServingSettings


@dataclass(frozen=True)
class Hardware:
    """What Triton's container has, and how the user wants it used."""

    cpus: float | None = None
    gpus: int = 0
    instances: int | None = None
    """Copies of a network that run side by side."""
    max_batch_size: int | None = None
    """Most requests that are computed together."""
    max_images: int | None = None
    """Most images in a request."""
    runtime: Path | None = None
    """File that is there if Triton's Python has ONNX Runtime (`contract/control.py`)."""

    def settings(self, assignment: Assignment) -> ServingSettings:
        """How an assignment is served here."""
        batch = {} if self.max_batch_size is None else {"max_batch": self.max_batch_size}
        images = {} if self.max_images is None else {"max_images": self.max_images}
        return ServingSettings(
            instances=self.instances,
            **batch,
            **images,
            one_step=self.runtime is not None and self.runtime.exists(),
            pipeline=assignment.pipeline,
            cpus=self.cpus,
            gpu=self.gpus > 0 or assignment.format == "tensorrt",
        )
