"""Settings of a version on one server: instances, threads, batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ConfigDict, Field

from modelyard.api.base import ApiModel
from modelyard.api.pipeline import Pipeline

SMALL_BYTES = 50_000_000
"""Maximum file size of a small network: YOLO11 n and s as ONNX have 11 and 38 MB."""
_COPIES = 2
_MAX_PROCESSES = 4
"""Processes that compute a small network side by side; each takes about 80 MB."""


@dataclass(frozen=True)
class Lanes:
    """Processes and threads that compute requests where one step does all."""

    processes: int
    """Each computes one request at a time, with a network of its own."""
    wide: int
    """Threads of an image that is computed alone; 0 for one per CPU that there is."""
    narrow: int = 0
    """Threads of each image while there are several; 0 for as many as of a single one."""

    @property
    def workers(self) -> int:
        """Images of one request that are computed side by side."""
        return max(1, self.wide // self.narrow) if self.narrow else 1


class ServingSettings(ApiModel):
    """Settings that the agent chooses for its server; other settings make another generation."""

    model_config = ConfigDict(frozen=True)

    pipeline: Pipeline = Field(default_factory=Pipeline)
    """The user's settings of the pipeline around the network."""
    cpus: float | None = Field(default=None, gt=0)
    """CPU limit of the Triton container; threads follow it. Empty: the backend counts CPUs."""
    gpu: bool = False
    """Run the network on a GPU."""
    instances: int | None = Field(default=None, ge=1, le=64)
    """Number of instances of the network; empty for the default of `copies`."""
    max_batch: int = Field(default=8, ge=1, le=1024)
    """Maximum batch size, for artifacts with a dynamic batch."""
    preferred_batches: tuple[int, ...] = Field(default=(), max_length=8)
    """Batch sizes that Triton forms as soon as it can; those above the artifact's maximum do not
    count. Empty: whatever waits when an instance is free."""
    max_delay_microseconds: int = Field(default=0, ge=0, le=1_000_000)
    """How long a request waits for others to be computed with."""
    max_images: int = Field(default=16, ge=1, le=256)
    """Maximum number of images in a request."""
    one_step: bool = False
    """Compute ONNX artifacts on CPUs in one step: Triton's Python has ONNX Runtime."""

    def copies(self, model_bytes: int) -> int:
        """Number of instances of a network with a file of `model_bytes`.

        By default two for a small one on several CPUs: its operators are so short that threads
        which share them mostly wait for each other. A large one keeps its threads busy, and its
        copies would take much memory. A GPU computes one after the other anyway.
        """
        if self.instances is not None:
            return self.instances
        several = not self.gpu and self.cpus is not None and self.cpus >= _COPIES
        return _COPIES if several and model_bytes <= SMALL_BYTES else 1

    def threads(self, model_bytes: int) -> int | None:
        """Threads of each instance; None for the backend's default."""
        if self.cpus is None:
            return None
        return max(1, int(self.cpus) // self.copies(model_bytes))

    def lanes(self, model_bytes: int) -> Lanes:
        """How requests are computed where one step does all.

        A small network computes several images side by side once there are several, with few
        threads each; see `copies` for why.
        """
        copies = self.copies(model_bytes)
        if self.instances is not None or copies == 1:
            return Lanes(processes=copies, wide=self.threads(model_bytes) or 0)
        cpus = int(self.cpus or 1)
        narrow = math.ceil(cpus / _MAX_PROCESSES)
        return Lanes(processes=cpus // narrow, wide=cpus, narrow=narrow)

    @property
    def decoders(self) -> int:
        """Number of processes that decode images: half of the CPUs, from 1 to 4. The network runs
        meanwhile, and each process takes about 60 MB."""
        return max(1, min(4, int(self.cpus or 1) // 2))
