"""The operator's settings, from environment variables that start with `MODELYARD_`.

Two underscores separate a group from its field: `MODELYARD_IMAGES__WORKER`, `MODELYARD_STORE__URL`.
Resources of pods by component are JSON (`MODELYARD_RESOURCES='{"data": {"cpu": "2"}}'`) or one
variable per entry (`MODELYARD_RESOURCES__DATA__CPU=2`); entries that are not given keep their
defaults. The chart's Deployment sets these variables. core/settings.py is the part that decisions
see.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from modelyard.contract.run import StoreLocation
from modelyard.core import settings as core
from modelyard.runtime.prometheus import Prometheus

PREFIX = "MODELYARD_"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULTS = core.Settings()


class InvalidSettings(Exception):
    """A variable has an invalid value; the message names it."""


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _known_components(value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    unknown = sorted(value.keys() - _DEFAULTS.resources.keys())
    if unknown:
        known = ", ".join(_DEFAULTS.resources)
        raise ValueError(f"there is no component {', '.join(unknown)}: choose among {known}")
    return value


def _private_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Networks to list: not loopback and link-local ones, which no setting may open."""
    for text in value:
        network = ip_network(text)
        if network.is_loopback or network.is_link_local or network.is_multicast:
            raise ValueError(f"{text} holds loopback, link-local or multicast addresses")
    return value


def _number_as_text(value: object) -> object:
    """`cpu: 8` among the chart's values is the quantity "8", as in a pod."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    # Helm writes large whole numbers as 8.589934592e+09.
    return str(int(value)) if value == int(value) else str(value)


_Quantity = Annotated[str, BeforeValidator(_number_as_text)]
Optional = Annotated[str | None, BeforeValidator(_empty_is_none)]
Address = Annotated[
    Annotated[str, Field(pattern=r"^https?://[^/]")] | None, BeforeValidator(_empty_is_none)
]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]


class ImageSettings(BaseModel):
    """`MODELYARD_IMAGES__…`: images of the pods that the operator creates."""

    worker: str = _DEFAULTS.images.worker
    """Image of dataset and agent pods."""
    trainer: str = _DEFAULTS.images.trainer
    """Image of training, export and evaluation pods."""
    triton: str = _DEFAULTS.images.triton
    tensorrt: str = _DEFAULTS.images.tensorrt
    """Image of TensorRT export and evaluation pods."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class StoreSettings(BaseModel):
    """`MODELYARD_STORE__…`: where artifacts are stored."""

    url: str = _DEFAULTS.store.url
    """`s3://bucket/prefix`, `gs://…`, `az://…` or `file:///path`."""
    endpoint: Optional = None
    """Endpoint URL of an S3-compatible server; empty for AWS."""
    region: str = _DEFAULTS.store.region


class EngineSettings(BaseSettings):
    """All settings of the operator's process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", case_sensitive=False, extra="ignore"
    )

    images: ImageSettings = ImageSettings()
    store: StoreSettings = StoreSettings()
    store_secret: Optional = _DEFAULTS.store_secret
    """Secret with the jobs' store credentials; empty for none (workload identity)."""
    store_reader_secret: Optional = _DEFAULTS.store_reader_secret
    """Secret with the agents' store credentials; empty for none."""
    store_claim: Optional = None
    """PersistentVolumeClaim of a directory store."""
    store_report: Optional = None
    """ConfigMap, in the Lease's namespace, with the last report of the store's collector; empty for
    none."""
    intake_url: Address = None
    """Where agents ask to store captured images; empty for nowhere."""
    trainer_service_account: str = _DEFAULTS.trainer_service_account
    agent_service_account: str = _DEFAULTS.agent_service_account
    namespaces: Names = ()
    """Comma-separated namespaces that are prepared for workloads; empty for all."""
    allowed_private_networks: Annotated[Names, AfterValidator(_private_networks)] = ()
    """Comma-separated networks (CIDR) with private addresses that pods may fetch from."""
    allowed_images: Names = ()
    """Comma-separated images that objects may name for their pods, each a reference or, with a `*`
    at its end, the beginning of one; empty for none."""
    image_pull_secrets: Names = ()
    """Comma-separated Secrets with registry credentials, for all pods that the operator creates."""
    resources: Annotated[dict[str, dict[str, _Quantity]], AfterValidator(_known_components)] = {}
    """CPU and memory of pods by component, unless the object sets them."""

    lease_name: str = "modelyard-operator"
    """Lease (coordination.k8s.io/v1) for leader election."""
    lease_namespace: Optional = None
    """Its namespace; by default the operator's own."""
    lease_seconds: float = Field(default=10, ge=2, le=300)
    """Duration of the Lease: seconds without renewal after which another replica may acquire it."""
    identity: Optional = None
    """Name of this replica in the Lease; by default POD_NAME, or else a random one. Must be unique
    among running processes: a restarted process of the same name acquires its Lease at once."""
    workers: int = Field(default=16, ge=1, le=256)
    """Objects that are reconciled concurrently."""
    resync_seconds: float = Field(default=600, ge=5)
    """Seconds between two resyncs, each of which lists and reconciles everything."""
    request_seconds: float = Field(default=30, ge=1, le=300)
    """Timeout of a request to the API server, in seconds."""
    stalled_seconds: float = Field(default=120, ge=5)
    """Seconds that a due key may wait before /healthz fails."""
    prometheus_url: Address = None
    """URL of the Prometheus for PromQL queries of rollouts; empty for none. Never a field of an
    object: users write queries, not addresses."""
    prometheus_token_file: Optional = None
    """File with a bearer token for it; empty for none."""
    prometheus_ca_file: Optional = None
    """File with the CA certificates (PEM) to trust for it; empty for the system's."""
    listen_address: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    listen_port: int = Field(default=8080, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz; 0 takes any free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "logfmt"] = "json"

    def for_decisions(self) -> core.Settings:
        """The settings that decisions use."""
        images = core.Images(
            worker=self.images.worker,
            trainer=self.images.trainer,
            triton=self.images.triton,
            tensorrt=self.images.tensorrt,
            pull_policy=self.images.pull_policy,
        )
        return core.Settings(
            images=images,
            store=StoreLocation(
                url=self.store.url, endpoint=self.store.endpoint, region=self.store.region
            ),
            store_secret=self.store_secret,
            store_reader_secret=self.store_reader_secret,
            store_claim=self.store_claim,
            intake_url=self.intake_url,
            trainer_service_account=self.trainer_service_account,
            agent_service_account=self.agent_service_account,
            namespaces=self.namespaces,
            allowed_private_networks=self.allowed_private_networks,
            allowed_images=self.allowed_images,
            image_pull_secrets=self.image_pull_secrets,
            resources={
                component: {**defaults, **self.resources.get(component, {})}
                for component, defaults in _DEFAULTS.resources.items()
            },
        )

    def prometheus(self) -> Prometheus | None:
        """Client for PromQL queries, or None if no URL is set."""
        if self.prometheus_url is None:
            return None
        return Prometheus(
            self.prometheus_url,
            token_file=self.prometheus_token_file,
            ca_file=self.prometheus_ca_file,
        )

    def own_namespace(self) -> str:
        """The Lease's namespace: as set, or the pod's, or `default` outside a cluster."""
        if self.lease_namespace:
            return self.lease_namespace
        try:
            return NAMESPACE_FILE.read_text().strip() or "default"
        except OSError:
            return "default"

    def replica(self) -> str:
        """This process's name in the Lease."""
        name = self.identity or os.environ.get("POD_NAME")
        return name or f"{socket.gethostname()}_{os.urandom(6).hex()}"


def load() -> EngineSettings:
    """The settings of this process. Raises InvalidSettings, which names each wrong variable."""
    try:
        return EngineSettings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = PREFIX + "__".join(str(part) for part in problem["loc"]).upper()
            lines.append(f"{name}={problem['input']!r}: {problem['msg']}")
        raise InvalidSettings("; ".join(lines)) from None
    except SettingsError as error:
        raise InvalidSettings(f"{error}: the value must be JSON") from None
