"""What a server runs on, and how a version is served there."""

from __future__ import annotations

from dataclasses import dataclass

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

    def settings(self, assignment: Assignment) -> ServingSettings:
        """How an assignment is served here."""
        batch = {} if self.max_batch_size is None else {"max_batch": self.max_batch_size}
        return ServingSettings(
            instances=self.instances,
            **batch,
            pipeline=assignment.pipeline,
            cpus=self.cpus,
            gpu=self.gpus > 0 or assignment.format == "tensorrt",
        )
