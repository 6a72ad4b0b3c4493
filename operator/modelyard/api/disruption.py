"""Pods of a Job that Kubernetes ended before they were done, as the status remembers them.

Part of Dataset, TrainingJob and ModelVersion. Such pods vanish from the API server, and Kubernetes
does not count them towards backoffLimit: without a memory, a Job that is always preempted would
never end. core/disruptions.py counts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelyard.api.base import StatusModel


class Disruption(StatusModel):
    """Pods of one Job that were ended one after the other."""

    job_name: str
    """Name of the batch/v1 Job."""
    count: int
    """Number of pods in a row, none of which got further than the one before."""
    pod_name: str
    """Name of the last one."""
    pod_creation_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time at which the last one was created."""
    reason: str
    """PodDisrupted, or Evicted."""
    message: str
    """Who ended the last one, in the words of the scheduler, the kubelet or the controller."""
    epoch: int | None = None
    """Epochs that a training had finished by then."""


Disruptions = Annotated[list[Disruption], Field(max_length=20)]
"""One entry for each Job that was disrupted."""
