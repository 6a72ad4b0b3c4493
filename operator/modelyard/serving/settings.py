"""How a version is served on one server."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from modelyard.api.base import ApiModel
from modelyard.api.pipeline import Pipeline


class ServingSettings(ApiModel):
    """What the agent chooses for its server; other settings make another generation."""

    model_config = ConfigDict(frozen=True)

    pipeline: Pipeline = Field(default_factory=Pipeline)
    """The user's settings of the pipeline around the network."""
    cpus: float | None = Field(default=None, gt=0)
    """CPU limit of the Triton container; threads follow it. Empty: the backend counts CPUs."""
    gpu: bool = False
    """Run the network on a GPU."""
    instances: int = Field(default=1, ge=1, le=64)
    """Copies of the network that run side by side."""
    max_batch: int = Field(default=8, ge=1, le=1024)
    """Most requests that are computed together when the artifact takes any batch."""

    @property
    def threads(self) -> int | None:
        """Threads of each network instance; None leaves it to the backend."""
        if self.cpus is None:
            return None
        return max(1, int(self.cpus) // self.instances)

    @property
    def decoders(self) -> int:
        """Processes that decode images: half of the CPUs, from 1 to 4. The network computes
        meanwhile, and each process takes about 60 MB."""
        return max(1, min(4, int(self.cpus or 1) // 2))
