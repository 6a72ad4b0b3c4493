"""What a server runs on, and how a version is served there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelyard.api.modelserver import Assignment
from modelyard.contract.run import AgentRun
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
    preferred_batch_sizes: tuple[int, ...] = ()
    """Batch sizes that are formed if possible."""
    max_batch_delay_microseconds: int = 0
    """How long a request waits for others."""
    max_images: int | None = None
    """Most images in a request."""
    runtime: Path | None = None
    """File that is there if Triton's Python has ONNX Runtime (`contract/control.py`)."""

    @classmethod
    def of(cls, run: AgentRun, runtime: Path | None = None) -> Self:
        """What a server's run spec says of it."""
        return cls(
            cpus=run.cpu_limit,
            gpus=run.gpus,
            instances=run.instances,
            max_batch_size=run.max_batch_size,
            preferred_batch_sizes=tuple(run.preferred_batch_sizes or ()),
            max_batch_delay_microseconds=run.max_batch_delay_microseconds or 0,
            max_images=run.max_images,
            runtime=runtime,
        )

    def settings(self, assignment: Assignment) -> ServingSettings:
        """How an assignment is served here."""
        batch = {} if self.max_batch_size is None else {"max_batch": self.max_batch_size}
        images = {} if self.max_images is None else {"max_images": self.max_images}
        return ServingSettings(
            instances=self.instances,
            **batch,
            preferred_batches=self.preferred_batch_sizes,
            max_delay_microseconds=self.max_batch_delay_microseconds,
            **images,
            one_step=self.runtime is not None and self.runtime.exists(),
            pipeline=assignment.pipeline,
            cpus=self.cpus,
            gpu=self.gpus > 0 or assignment.format == "tensorrt",
        )
