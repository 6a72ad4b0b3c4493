"""Where a Deployment's servers run: anywhere in the cluster, or one on each edge node.

A cluster target scales by numbers, by load or to zero; an edge target (edge.py) follows nodes. A
Gateway is part of the cluster target only: cameras on the edge talk to their own node.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    ApiModel,
    Duration,
    LabelKey,
    Memory,
    ObjectName,
    cel,
    exactly_one,
    int_or_percent,
    rules,
)
from modelyard.api.edge import EdgeTarget


class ScalingMetrics(ApiModel):
    """Target values for scaling, per server. The metric that needs the most servers decides."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.cpuPercent) || has(self.queueMilliseconds) || "
                "has(self.requestsPerSecond)",
                "set at least one of cpuPercent, queueMilliseconds, requestsPerSecond",
            )
        )
    )

    cpu_percent: int | None = Field(default=None, ge=1, le=10_000)
    """CPU usage of Triton in percent of server.resources.cpu. Needs only metrics-server."""
    queue_milliseconds: int | None = Field(default=None, ge=1, le=600_000)
    """Mean time in milliseconds that a request waits in Triton's queue. Needs the metrics adapter
    that docs/serving.md describes."""
    requests_per_second: float | None = Field(default=None, ge=0.001, le=1_000_000)
    """Successful requests per second. Needs the metrics adapter that docs/serving.md describes."""


class Autoscaling(ApiModel):
    """Scaling by load, with a HorizontalPodAutoscaler that writes `replicas`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.minReplicas <= self.maxReplicas", "minReplicas is above maxReplicas"),
            cel(
                "duration(self.scaleDownDelay) <= duration('1h')",
                "scaleDownDelay is at most 1h",
            ),
        )
    )

    min_replicas: int = Field(default=1, ge=1, le=10_000)
    """Minimum number of servers."""
    max_replicas: int = Field(ge=1, le=10_000)
    """Maximum number of servers."""
    metrics: ScalingMetrics = Field(default_factory=lambda: ScalingMetrics(cpu_percent=70))
    """Target values for scaling. Default: cpuPercent 70."""
    scale_down_delay: Duration = "5m"
    """Time for which fewer servers must have been enough before one is removed, at most 1h."""


class TopologySpread(ApiModel):
    """A topology spread constraint of the servers, as in a pod's spec."""

    topology_key: LabelKey = Field(min_length=1)
    """Node label whose values are the topology domains, such as topology.kubernetes.io/zone."""
    max_skew: int = Field(default=1, ge=1, le=10_000)
    """Maximum difference in the number of servers between two domains."""
    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] = "ScheduleAnyway"
    """Whether a server that cannot satisfy the constraint is scheduled anyway or stays pending."""


class Disruption(ApiModel):
    """Limit on concurrent evictions of servers, such as those of a node drain."""

    max_unavailable: int | str = Field(
        default=1, json_schema_extra=int_or_percent("maxUnavailable", least=1)
    )
    """Maximum number of unavailable servers during evictions: a number, or a percentage, which is
    rounded up. A single server has no PodDisruptionBudget, so it can be evicted."""


Namespace = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)
]
"""The name of a namespace."""


class ParentRef(ApiModel):
    """A Gateway, or one of its listeners, as in the Gateway API."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: ObjectName
    """Name of the Gateway."""
    namespace: Namespace | None = None
    """Its namespace, if it is another one; the Gateway must admit routes from here."""
    section_name: ObjectName | None = None
    """One listener of it."""


HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+\-.^_|~]+$"
HEADER_VALUE = r"^[!-~]([ -~]*[!-~])?$"


class HeaderMatch(ApiModel):
    """A header (HTTP) or metadata key (gRPC) with its exact value."""

    name: str = Field(pattern=HEADER_NAME, min_length=1, max_length=256)
    """Name; case does not matter."""
    value: str = Field(pattern=HEADER_VALUE, min_length=1, max_length=256)
    """Value."""


class CandidateTraffic(ApiModel):
    """Which requests the servers with the candidate answer before the last step of a rollout."""

    weighted: bool = True
    """Whether they get the step's share of requests: exactly its `weight` percent, or for `nodes`
    and `pool` the share of servers. Without it, only what `header` or `mirror` lead there."""
    header: HeaderMatch | None = None
    """Requests that carry it all go to the candidate while there is one, and to stable otherwise
    (A/B by header)."""
    mirror: int | None = Field(default=None, ge=1, le=100)
    """Percent of stable's requests that are copied to the candidate, whose answers are dropped.
    Needs a Gateway that supports RequestMirror: see docs/serving.md."""


HOSTNAME = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

Hostname = Annotated[str, Field(pattern=HOSTNAME, min_length=1, max_length=253)]
"""A host name, or one with `*` as its first label."""


class Gateway(ApiModel):
    """Routes of the Gateway API, which split traffic between stable and the candidate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.hostnames) || !has(self.grpcHostnames) || "
                "!self.grpcHostnames.exists(h, h in self.hostnames)",
                "a name is in hostnames and grpcHostnames: a Gateway takes each for HTTP or gRPC",
            ),
            cel(
                "self.parentRefs.all(p, has(p.sectionName) || "
                "self.parentRefs.exists_one(q, q.name == p.name))",
                "parentRefs name a Gateway twice: give each its own sectionName",
            ),
        )
    )

    parent_refs: list[ParentRef] = Field(
        min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Gateways that the routes are attached to."""
    hostnames: list[Hostname] | None = Field(default=None, max_length=16)
    """Hosts of the HTTPRoute. Without any it leads only requests of this model here, so that
    several Deployments can share a Gateway."""
    grpc_hostnames: list[Hostname] | None = Field(default=None, min_length=1, max_length=16)
    """Hosts of the GRPCRoute, which is made only if there are any: gRPC requests do not name
    their model where a Gateway could see it."""
    candidate: CandidateTraffic = Field(default_factory=CandidateTraffic)
    """Which requests the candidate answers during a rollout."""


class ScaleToZero(ApiModel):
    """Scale to zero without requests, and up again with the first request, which waits for a
    server.
    Clients must use the address in status.url, which a proxy serves at all times. Requests to the
    servers' own Service neither scale them up nor keep them running.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "duration(self.after) >= duration('10s') && "
                "duration(self.after) <= duration('168h')",
                "after is from 10s to 168h",
            ),
            cel("duration(self.wait) <= duration('1h')", "wait is at most 1h"),
            cel(
                "self.by == 'Keda' || !(has(self.hosts) || has(self.grpcHosts))",
                "hosts and grpcHosts are for `by: Keda`: an activator takes any host",
            ),
        )
    )

    by: Literal["Activator", "Keda"] = "Activator"
    """Which proxy to use. Activator is a small pod that the operator runs. Keda is the interceptor
    of KEDA's HTTP add-on, which must be installed."""
    after: Duration = "5m"
    """Time without requests after which servers are scaled to zero, from 10s to 168h."""
    wait: Duration = "5m"
    """Maximum time that a request waits for a server, at most 1h."""
    hosts: list[Hostname] | None = Field(default=None, max_length=16)
    """With Keda: additional hosts of HTTP requests, for an Ingress or Gateway in front of the
    interceptor that keeps the Host header."""
    grpc_hosts: list[Hostname] | None = Field(default=None, max_length=16)
    """With Keda: additional hosts of gRPC requests. They must differ from `hosts`."""
    keda_namespace: Namespace = "keda"
    """With Keda: namespace of the HTTP add-on."""


class ServerCache(ApiModel):
    """A server's cache of artifacts, in its pod."""

    quota: Memory = "4Gi"
    """Maximum size of the cache. The least recently used artifacts are removed first, but never
    those that are served, staged or needed for a rollback, so it should hold three versions."""


class ClusterTarget(ApiModel):
    """Servers in the cluster, behind one Service."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.scaleToZero) || has(self.autoscaling)",
                "scaleToZero needs autoscaling, which says how many servers there are otherwise",
            ),
            cel(
                "!has(self.scaleToZero) || self.scaleToZero.by != 'Keda' || "
                "!has(self.autoscaling) || !has(self.autoscaling.metrics) || "
                "!has(self.autoscaling.metrics.queueMilliseconds)",
                "Keda cannot scale by queueMilliseconds: use requestsPerSecond",
            ),
            cel(
                "!has(self.scaleToZero) || !has(self.gateway)",
                "scaleToZero and gateway exclude each other: routes would lead past what wakes "
                "servers",
            ),
        )
    )

    replicas: int = Field(default=1, ge=0, le=10_000)
    """Number of servers; 0 suspends serving. With autoscaling this is the initial number; the
    autoscaler then writes it through the scale subresource, so manifests that are applied
    repeatedly should not set it."""
    autoscaling: Autoscaling | None = None
    """Scaling by load; empty for a fixed number of servers."""
    scale_to_zero: ScaleToZero | None = None
    """Scale to zero without requests; needs autoscaling."""
    disruption: Disruption = Field(default_factory=Disruption)
    """Limit on concurrent evictions."""
    cache: ServerCache = Field(default_factory=ServerCache)
    """Cache of artifacts in each server."""
    gateway: Gateway | None = None
    """Gateway API routes that split traffic by weight. Without them, a candidate's share of
    traffic is the share of servers that run it."""
    topology_spread: list[TopologySpread] | None = Field(
        default=None,
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["topologyKey"],
        },
    )
    """Topology spread constraints; by default over nodes and zones if possible. An empty list sets
    none."""


class Target(ApiModel):
    """Where servers run: exactly one of cluster and edge must be set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("cluster", "edge"),
            cel(
                "has(self.edge) == has(oldSelf.edge)",
                "a target cannot change between cluster and edge: make another Deployment",
            ),
        )
    )

    cluster: ClusterTarget | None = None
    """Servers in the cluster, behind one Service."""
    edge: EdgeTarget | None = None
    """One server on each edge node that matches."""
