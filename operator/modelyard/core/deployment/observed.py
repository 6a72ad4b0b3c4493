"""What a Deployment's decision looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.contract.naming import edge_server_name
from modelyard.core import meta
from modelyard.core.deployment import names
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import Member
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL
from modelyard.core.plan import KubeObject, QueryResult, View
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec


@dataclass(frozen=True)
class Observed:
    """A Deployment with the versions of its line and its servers."""

    obj: KubeObject
    spec: DeploymentSpec
    settings: Settings
    versions: dict[int, KubeObject]
    """ModelVersions of the line by number."""
    fleet: Fleet
    """Its servers. Shared with the cache: only looked at."""
    server: Callable[[str], KubeObject | None]
    """A ModelServer by name."""
    answer: Callable[[str], QueryResult | None]
    """Prometheus' latest answer to a query."""
    live: Callable[[str, str], KubeObject | None]
    """What there is in the namespace, by kind and name."""
    kind_available: Callable[[str], bool]
    """Whether the cluster has a kind that is not ours."""
    workload: KubeObject | None = None
    """The apps/v1 Deployment or DaemonSet."""

    @property
    def edge(self) -> bool:
        """Whether servers belong to nodes."""
        return self.spec.target.edge is not None

    @property
    def by_pool(self) -> bool:
        """Whether pools are declared, so that budgets are of each."""
        return self.spec.target.edge is not None and self.spec.target.edge.pools is not None

    @property
    def pipeline(self) -> dict[str, Any]:
        """The spec's pipeline, as it is written into objects."""
        return self.spec.pipeline.model_dump(mode="json", by_alias=True)

    @property
    def replicas(self) -> int:
        """Servers that the spec asks for (cluster), or that nodes match (edge)."""
        cluster = self.spec.target.cluster
        if cluster is not None:
            return cluster.replicas
        status = meta.status(self.workload) if self.workload else {}
        return int(status.get("desiredNumberScheduled") or 0)

    @property
    def counted(self) -> bool:
        """Whether it is known how many servers there should be: on the edge the DaemonSet's
        controller counts the nodes, some time after a change."""
        made = self.workload
        if not self.edge or made is None:
            return not self.edge
        return meta.status(made).get("observedGeneration") == meta.generation(made)

    @property
    def product(self) -> str:
        """GPU type that a cluster target's pods are bound to."""
        scheduling = self.spec.server.scheduling
        return ((scheduling.node_selector if scheduling else None) or {}).get(GPU_PRODUCT_LABEL, "")

    def server_name(self, member: Member) -> str:
        """Name of a member's ModelServer."""
        return edge_server_name(meta.name(self.obj), member.name) if self.edge else member.name


@OfSpec
def _spec(spec: Any) -> DeploymentSpec:
    return DeploymentSpec.model_validate(spec, extra="ignore")


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec = _spec(obj)
    space = meta.namespace(obj)
    versions = {
        int(v["spec"]["version"]): v
        for v in view.select("ModelVersion", space, "model-line", spec.model_line)
        if not meta.deleting(v)
    }
    kind = "apps/DaemonSet" if spec.target.edge else "apps/Deployment"
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        versions=versions,
        fleet=view.aggregate("fleets").of(meta.uid(obj)),
        server=lambda name: view.get("ModelServer", space, name),
        answer=view.answer,
        live=lambda kind, name: view.get(kind, space, name),
        kind_available=view.kind_available,
        workload=view.get(kind, space, names.workload_name(obj)),
    )
