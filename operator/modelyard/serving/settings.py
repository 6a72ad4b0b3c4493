"""How a version is served on one server."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from modelyard.api.base import ApiModel
from modelyard.api.pipeline import Pipeline

SMALL_BYTES = 50_000_000
"""Largest file of a network that is taken for small: YOLO11 n and s as ONNX have 11 and 38 MB."""
_COPIES = 2


class ServingSettings(ApiModel):
    """What the agent chooses for its server; other settings make another generation."""

    model_config = ConfigDict(frozen=True)

    pipeline: Pipeline = Field(default_factory=Pipeline)
    """The user's settings of the pipeline around the network."""
    cpus: float | None = Field(default=None, gt=0)
    """CPU limit of the Triton container; threads follow it. Empty: the backend counts CPUs."""
    gpu: bool = False
    """Run the network on a GPU."""
    instances: int | None = Field(default=None, ge=1, le=64)
    """Copies of the network that run side by side; empty: see `copies`."""
    max_batch: int = Field(default=8, ge=1, le=1024)
    """Most requests that are computed together when the artifact takes any batch."""

    def copies(self, model_bytes: int) -> int:
        """Copies of a network of so many bytes.

        By default two for a small one on several CPUs: its operators are so short that threads
        which share them mostly wait for each other. A large one keeps its threads busy, and its
        copies would take much memory. A GPU computes one after the other anyway.
        """
        if self.instances is not None:
            return self.instances
        several = not self.gpu and self.cpus is not None and self.cpus >= _COPIES
        return _COPIES if several and model_bytes <= SMALL_BYTES else 1

    def threads(self, model_bytes: int) -> int | None:
        """Threads of each copy; None leaves it to the backend."""
        if self.cpus is None:
            return None
        return max(1, int(self.cpus) // self.copies(model_bytes))

    @property
    def decoders(self) -> int:
        """Processes that decode images: half of the CPUs, from 1 to 4. The network computes
        meanwhile, and each process takes about 60 MB."""
        return max(1, min(4, int(self.cpus or 1) // 2))
