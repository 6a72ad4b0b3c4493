"""Our kinds: names, columns, scale, and rules over more than a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from modelyard.api import dataset, deployment, modelserver, modelversion, trainingjob
from modelyard.api.base import GROUP, cel


@dataclass(frozen=True)
class KindInfo:
    """Everything about a kind that is not in its fields."""

    kind: str
    plural: str
    short: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str], ...]
    """Printer columns: name, type, JSONPath."""
    wide: frozenset[str] = frozenset()
    """Columns shown only with `-o wide`."""
    scale: Mapping[str, str] | None = None
    selectable: tuple[str, ...] = ()
    """JSONPaths that `kubectl get --field-selector` may use."""
    root_rules: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def singular(self) -> str:
        """The kind's name in lower case."""
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition: plural and group."""
        return f"{self.plural}.{GROUP}"


AGE = ("Age", "date", ".metadata.creationTimestamp")


def _frozen_once_started(*fields: str) -> tuple[Mapping[str, Any], ...]:
    """One rule for all fields, since each status patch pays for every rule."""
    same = [
        f"has(self.spec.{field}) == has(oldSelf.spec.{field}) && "
        f"(!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
        for field in fields
    ]
    changed = "".join(f"!({one}) ? '{field}' : " for one, field in zip(same, fields, strict=True))
    return (
        cel(
            f"!has(oldSelf.status) || !has(oldSelf.status.runHash) || ({' && '.join(same)})",
            "the spec cannot change once the training has started: create a new TrainingJob",
            messageExpression=f"'spec.' + ({changed}'?') + ' cannot change once the training has "
            "started: create a new TrainingJob'",
        ),
    )


ALL_KINDS: tuple[KindInfo, ...] = (
    KindInfo(
        kind="Dataset",
        plural="datasets",
        short="dset",
        spec=dataset.DatasetSpec,
        status=dataset.DatasetStatus,
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Images", "integer", ".status.images"),
            ("Classes", "integer", ".status.classCount"),
            ("Digest", "string", ".status.digest"),
            ("Message", "string", ".status.message"),
            AGE,
        ),
        wide=frozenset({"Digest", "Message"}),
    ),
    KindInfo(
        kind="TrainingJob",
        plural="trainingjobs",
        short="tj",
        spec=trainingjob.TrainingJobSpec,
        status=trainingjob.TrainingJobStatus,
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Epoch", "integer", ".status.progress.epoch"),
            ("Progress", "integer", ".status.progress.percent"),
            ("ETA", "integer", ".status.progress.remainingSeconds"),
            ("mAP50-95", "number", ".status.progress.metrics.mAP50to95"),
            ("Version", "string", ".status.modelVersion"),
            ("Message", "string", ".status.message"),
            AGE,
        ),
        wide=frozenset({"Message"}),
        root_rules=_frozen_once_started(
            "model",
            "modelDigest",
            "baseVersion",
            "dataset",
            "resources",
            "scheduling",
            "image",
            "backoffLimit",
            "activeDeadlineSeconds",
            "output",
        ),
    ),
    KindInfo(
        kind="ModelVersion",
        plural="modelversions",
        short="mv",
        spec=modelversion.ModelVersionSpec,
        status=modelversion.ModelVersionStatus,
        columns=(
            ("Line", "string", ".spec.modelLine"),
            ("Version", "integer", ".spec.version"),
            ("Phase", "string", ".status.phase"),
            ("mAP50", "number", ".status.mAP50"),
            ("mAP50-95", "number", ".status.mAP50to95"),
            ("Message", "string", ".status.message"),
            AGE,
        ),
        wide=frozenset({"Message"}),
        root_rules=(
            cel(
                # Cutting the name costs less, to the API server's estimate, than joining it.
                "self.metadata.name.startsWith(self.spec.modelLine + '-') && "
                "self.metadata.name.substring(size(self.spec.modelLine) + 1) == "
                "string(self.spec.version)",
                "a ModelVersion's name is its modelLine, a dash and its version, such as shelf-3",
            ),
        ),
    ),
    KindInfo(
        kind="Deployment",
        plural="deployments",
        short="mdep",
        spec=deployment.DeploymentSpec,
        status=deployment.DeploymentStatus,
        columns=(
            ("Line", "string", ".spec.modelLine"),
            ("Phase", "string", ".status.phase"),
            ("Stable", "integer", ".status.stable.version"),
            ("Candidate", "integer", ".status.candidate.version"),
            ("Desired", "integer", ".status.desiredReplicas"),
            ("Ready", "integer", ".status.readyReplicas"),
            ("Updated", "integer", ".status.updatedReplicas"),
            ("Offline", "integer", ".status.offlineReplicas"),
            ("URL", "string", ".status.url"),
            ("Message", "string", ".status.message"),
            AGE,
        ),
        wide=frozenset({"Message", "Offline"}),
        scale={
            "specReplicasPath": ".spec.target.cluster.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
    KindInfo(
        kind="ModelServer",
        plural="modelservers",
        short="ms",
        spec=modelserver.ModelServerSpec,
        status=modelserver.ModelServerStatus,
        columns=(
            ("Deployment", "string", ".spec.deployment"),
            ("Node", "string", ".spec.nodeName"),
            ("Assigned", "integer", ".spec.assigned.version"),
            ("Serving", "integer", ".status.loaded.version"),
            ("Phase", "string", ".status.phase"),
            ("Requests", "integer", ".status.traffic.requests"),
            ("Message", "string", ".status.message"),
            AGE,
        ),
        wide=frozenset({"Message", "Node"}),
        selectable=(".spec.nodeName", ".status.phase"),
    ),
)


def kind_info(kind: str) -> KindInfo:
    """The KindInfo of a kind's name. Raises KeyError for a name that is not ours."""
    for info in ALL_KINDS:
        if info.kind == kind:
            return info
    raise KeyError(kind)
