"""Run specs: all that a pod must know, in one JSON document."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, TypeAdapter

from modelyard.api.base import ApiModel
from modelyard.api.dataset import DatasetSource, QualityRules
from modelyard.api.evaluation import Evaluation
from modelyard.api.export import Artifact, Export
from modelyard.api.modelversion import WeightsSource
from modelyard.contract.result import (
    DataResult,
    EvaluateResult,
    ExportResult,
    Result,
    TrainResult,
)


class ObjectId(ApiModel):
    """The object that a pod works for."""

    namespace: str
    name: str
    uid: str


NAMESPACE_PLACEHOLDER = "{namespace}"


class StoreLocation(ApiModel):
    """Where artifacts live. Credentials come from the environment (AWS_ACCESS_KEY_ID, …)."""

    url: str
    """`s3://bucket/prefix`, `gs://…`, `az://…` or `file:///path`. Bucket and prefix are taken as
    written, without percent-decoding; only `file://` is a URL in the strict sense."""
    endpoint: str | None = None
    """Endpoint URL of an S3-compatible server."""
    region: str = "us-east-1"
    """Region for S3 signatures."""

    def within(self, namespace: str) -> Self:
        """The part of the store that belongs to a namespace: `{namespace}` in the URL stands for
        it, and without that it is the last folder (`s3://bucket/prefix/<namespace>`)."""
        url = self.url
        if NAMESPACE_PLACEHOLDER not in url:
            url = f"{url.rstrip('/')}/{NAMESPACE_PLACEHOLDER}"
        return self.model_copy(update={"url": url.replace(NAMESPACE_PLACEHOLDER, namespace)})


class BaseRun(ApiModel):
    """What every run spec has."""

    result: ClassVar[type[Result]]
    """What the pod answers when the run succeeds."""

    object: ObjectId
    """The object that the pod works for."""
    store: StoreLocation
    """The namespace's part of the store."""
    allowed_private_networks: list[str] = Field(default_factory=list)
    """Networks with private addresses that the pod may fetch from, besides public addresses."""
    cpu_limit: float | None = None
    """CPUs that the pod may use; worker threads follow it."""


class DataRun(BaseRun):
    """Fetch, check and publish a dataset."""

    kind: Literal["data"] = "data"
    result: ClassVar[type[Result]] = DataResult
    source: DatasetSource
    data_file: str
    quality: QualityRules


class TrainRun(BaseRun):
    """Train a model; resumes where an earlier pod of the same run_key stopped."""

    kind: Literal["train"] = "train"
    result: ClassVar[type[Result]] = TrainResult
    run_key: str
    """Name of the run in the store, `<uid>-<run hash>`, under which checkpoints and the result
    are."""
    model: str | None = None
    """Ultralytics name of pretrained weights (.pt) or architecture (.yaml)."""
    model_digest: str | None = None
    """Digest that the pretrained weights must have."""
    base_weights: WeightsSource | None = None
    """Weights of the ModelVersion that is fine-tuned."""
    dataset_digest: str
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    gpus: int = 0


class ExportRun(BaseRun):
    """Make one artifact from a version's weights."""

    kind: Literal["export"] = "export"
    result: ClassVar[type[Result]] = ExportResult
    weights: WeightsSource
    export: Export
    dataset_digest: str | None = None
    """Calibration images for int8."""


class EvaluateRun(BaseRun):
    """Evaluate artifacts, and optionally the source weights, on a pinned split."""

    kind: Literal["evaluate"] = "evaluate"
    result: ClassVar[type[Result]] = EvaluateResult
    weights: WeightsSource
    include_source: bool = True
    artifacts: list[Artifact]
    dataset_digest: str
    evaluation: Evaluation


OFTEN_SECONDS = 10
"""Seconds between two reports of an agent while its version is new or shadowed. A ModelServer's
spec.reportSeconds may name another time."""


class AgentRun(ApiModel):
    """Settings of the agent in a serving pod; the version to serve is in its ModelServer."""

    kind: Literal["agent"] = "agent"
    namespace: str
    deployment: str
    """Modelyard Deployment; its status.stable is served until a ModelServer exists."""
    model_line: str
    store: StoreLocation
    cpu_limit: float | None = None
    """CPUs of the Triton container."""
    gpus: int = 0
    """GPUs of the Triton container; with one, networks run on it."""
    instances: int | None = None
    """Number of instances of a network; None for the default of serving/settings.py."""
    max_batch_size: int | None = None
    """Maximum batch size; None for the default of serving/settings.py."""
    preferred_batch_sizes: list[int] | None = None
    """Batch sizes that Triton forms if it can; None for any."""
    max_batch_delay_microseconds: int | None = None
    """How long a request waits for others; None for not at all."""
    max_images: int | None = None
    """Maximum number of images in a request; None for the default of serving/settings.py."""
    report_seconds: int = 30
    """How often traffic and figures are reported when nothing else changes."""
    edge: bool = False
    """Whether the server belongs to a node: its ModelServer is named by
    contract.naming.edge_server_name and outlives pods."""
    cache_bytes: int | None = None
    """Quota of the cache of artifacts; None is the agent's default."""
    durable_cache: bool = False
    """Whether the cache outlives the pod."""
    intake: str | None = None
    """URL of the service that lets captured images be stored; None where there is none."""


Run = Annotated[
    DataRun | TrainRun | ExportRun | EvaluateRun | AgentRun, Field(discriminator="kind")
]
# A tagged union is no class, which type checkers disagree about.
_ADAPTER: TypeAdapter[Run] = TypeAdapter(cast("Any", Run))


def parse_run(text: str | bytes) -> Run:
    """A run spec from JSON. Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(text)


def dump_run(run: BaseRun | AgentRun) -> str:
    """A run spec as JSON with stable key order, so that equal runs are equal bytes."""
    return run.model_dump_json(by_alias=True, exclude_none=True)
