"""What a Deployment's decision goes by: a snapshot of values, taken once from the cache.

Nothing in it asks anything, so the same snapshot and the same time give the same plan, however
often (tests/unit/core/test_purity.py). The fleet is the one part that is shared by reference: a
copy would cost as much as there are servers. Decisions only read it; its clock is advanced by the
reconciler, before the snapshot is taken (Controller.advance).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.contract.naming import edge_server_name
from modelyard.core import meta, ownership
from modelyard.core.deployment import names
from modelyard.core.deployment.queries import filled, placeholders
from modelyard.core.deployment.recorded import Recorded
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import Member
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL
from modelyard.core.plan import KubeObject, QueryResult, View
from modelyard.core.refusals import refusal
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec


@dataclass(frozen=True)
class Observed:
    """A Deployment with the versions of its line and its servers."""

    obj: KubeObject
    spec: DeploymentSpec
    """Always of the model line that serves: see `refused_line`."""
    settings: Settings
    versions: dict[int, KubeObject]
    """ModelVersions of the line by number."""
    fleet: Fleet
    """Its servers. Shared with the cache: only read."""
    recorded: Recorded
    """What the status says of rollouts."""
    answers: Mapping[str, QueryResult]
    """Prometheus' latest answers, by query, to what the analyses ask."""
    children: Mapping[tuple[str, str], KubeObject]
    """Children that a decision may delete, by kind and name."""
    available_kinds: frozenset[str]
    """Kinds that are not ours and that the cluster has."""
    refused_line: str = ""
    """spec.modelLine, where it names another line than the one that serves. The schema refuses such
    a change, that of an older operator did not. All else of the spec counts as it is, for the line
    that serves: the model's name in Triton is the line's."""
    next_silence: float | None = None
    """When the next server may fall silent: seconds since the epoch."""
    workload: KubeObject | None = None
    """The apps/v1 Deployment or DaemonSet."""
    refusal: str = ""
    """What the API server said of the last pod that it refused a DaemonSet."""

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


CHILDREN = (
    "apps/Deployment",
    "apps/DaemonSet",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)
"""Kinds of children that every cluster has."""
OPTIONAL = ("HTTPRoute", "GRPCRoute", "ScaledObject", "InterceptorRoute")
"""Kinds of children whose CRDs are not ours."""


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Takes the snapshot. Raises pydantic.ValidationError for a spec or status that the schema
    should have refused."""
    spec, recorded, refused = _spec(obj), Recorded.of(meta.status(obj)), ""
    if recorded.model_line not in ("", spec.model_line):
        refused = spec.model_line
        spec = spec.model_copy(update={"model_line": recorded.model_line})
    space = meta.namespace(obj)
    versions = {
        int(v["spec"]["version"]): v
        for v in view.select("ModelVersion", space, "model-line", spec.model_line)
        if not meta.deleting(v)
    }
    kind = "apps/DaemonSet" if spec.target.edge else "apps/Deployment"
    available = frozenset(kind for kind in OPTIONAL if view.kind_available(kind))
    fleet = view.aggregate("fleets").of(obj)
    workload = ownership.owned(obj, view.get(kind, space, names.workload_name(obj)))
    asked = set(_queries(obj, spec, recorded))
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        versions=versions,
        fleet=fleet,
        recorded=recorded,
        answers={query: found for query in asked if (found := view.answer(query)) is not None},
        children={
            (kind, meta.name(child)): child
            for kind in (*CHILDREN, *available)
            for child in view.children(obj, kind)
        },
        available_kinds=available,
        refused_line=refused,
        next_silence=fleet.next_silence,
        workload=workload,
        refusal=refusal(view, workload)[1] if workload is not None and spec.target.edge else "",
    )


def _queries(obj: KubeObject, spec: DeploymentSpec, recorded: Recorded) -> Iterator[str]:
    """What the rollout that is going on may have asked of Prometheus."""
    stable, candidate = recorded.stable, recorded.candidate
    if recorded.rollout is None or stable is None or candidate is None:
        return
    words = placeholders(
        obj,
        model_line=spec.model_line,
        candidate=candidate.version,
        stable=stable.version,
    )
    rollout = spec.rollout
    analyses = [rollout.analysis, rollout.shadow.analysis if rollout.shadow else None]
    analyses += [step.analysis for step in rollout.steps]
    for analysis in analyses:
        for metric in analysis.metrics if analysis else ():
            if metric.query is not None:
                yield filled(metric.query, words)[0]
