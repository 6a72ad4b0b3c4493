"""The operator's settings, as decisions see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.contract.run import StoreLocation


@dataclass(frozen=True)
class Images:
    """Images of the pods that the operator makes."""

    worker: str = "modelyard/worker:dev"
    """Datasets and agents."""
    trainer: str = "modelyard/trainer:dev"
    """Training, export, evaluation."""
    triton: str = "modelyard/triton:dev"
    tensorrt: str = "modelyard/trainer-gpu:dev"
    """TensorRT exports and evaluations."""
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True)
class Settings:
    """What the chart's values set; the same for all objects."""

    images: Images = field(default_factory=Images)
    store: StoreLocation = field(default_factory=lambda: StoreLocation(url="s3://modelyard"))
    store_secret: str | None = "modelyard-store"  # noqa: S105
    """Secret, in each workload namespace, with the credentials of jobs (read and write)."""
    store_reader_secret: str | None = "modelyard-store"  # noqa: S105
    """Secret with the credentials of agents (read only, where the store can tell them apart)."""
    store_claim: str | None = None
    """PersistentVolumeClaim, in each workload namespace, of a directory store."""
    trainer_service_account: str = "modelyard-trainer"
    agent_service_account: str = "modelyard-agent"
    namespaces: tuple[str, ...] = ()
    """Namespaces prepared for workloads by the chart; empty means all are."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets, in each workload namespace, with registry credentials."""
    data_resources: Mapping[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "1Gi"})
    training_resources: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "2", "memory": "8Gi"}
    )
    export_resources: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "1", "memory": "4Gi"}
    )
    server_resources: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "1", "memory": "2Gi"}
    )
    agent_resources: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "50m", "memory": "384Mi"}
    )
