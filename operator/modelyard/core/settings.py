"""The operator's settings, as decisions see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.api.kinds import default_resources
from modelyard.api.registration import Reporter
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
    """The store as a whole; pods get their namespace's part, `store_of`."""
    store_secret: str | None = "modelyard-store-writer"  # noqa: S105
    """Secret, in each workload namespace, with the credentials of jobs (read and write)."""
    store_reader_secret: str | None = "modelyard-store-reader"  # noqa: S105
    """Secret, in each workload namespace, with the credentials of agents (read only)."""
    store_claim: str | None = None
    """PersistentVolumeClaim, in each workload namespace, of a directory store."""
    intake_url: str | None = None
    """Where agents ask to store captured images; None where there is no intake service."""
    trainer_service_account: str = "modelyard-trainer"
    agent_service_account: str = "modelyard-agent"
    namespaces: tuple[str, ...] = ()
    """Namespaces prepared for workloads by the chart; empty means all are."""
    allowed_private_networks: tuple[str, ...] = ()
    """Networks (CIDR) with private addresses that pods may fetch datasets and weights from."""
    allowed_images: tuple[str, ...] = ()
    """Images that objects may name for their pods; see core/images.py."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets, in each workload namespace, with registry credentials."""
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=default_resources)
    """CPU and memory of pods by component (KindInfo.components), where an object says nothing."""

    def store_of(self, namespace: str) -> StoreLocation:
        """The part of the store that belongs to a namespace."""
        return self.store.within(namespace)

    @property
    def trainer_images(self) -> tuple[str, ...]:
        """Images that a TrainingJob may name, as admission has them."""
        return (*self.allowed_images, self.images.trainer, self.images.tensorrt)

    def service_account(self, reporter: Reporter) -> str:
        """The service account of pods that report."""
        named = {"trainer": self.trainer_service_account, "agent": self.agent_service_account}
        return named.get(reporter.who, f"modelyard-{reporter.who}")
