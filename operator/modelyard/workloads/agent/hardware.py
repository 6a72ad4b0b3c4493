"""What a server runs on, and how a version is served there."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.modelserver import Assignment
from modelyard.serving.settings import ServingSettings


@dataclass(frozen=True)
class Hardware:
    """What Triton's container has."""

    cpus: float | None = None
    gpus: int = 0

    def settings(self, assignment: Assignment) -> ServingSettings:
        """How an assignment is served here."""
        return ServingSettings(
            pipeline=assignment.pipeline,
            cpus=self.cpus,
            gpu=self.gpus > 0 or assignment.format == "tensorrt",
        )
