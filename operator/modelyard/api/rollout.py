"""How a new version reaches the servers: steps, analysis, shadow.

What users write. What becomes of it: rolloutstages.py turns the steps into stages,
rolloutstatus.py has the state, core/deployment decides. Fields have defaults that are safe for one
server as well as for thousands; docs/rollouts.md explains them with pictures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    ApiModel,
    Duration,
    LabelValue,
    cel,
    exactly_one,
    int_or_percent,
    rules,
)

Figure = Literal[
    "ErrorRate",
    "LatencyP50",
    "LatencyP95",
    "LatencyP99",
    "QueueTime",
    "Throughput",
    "Confidence",
    "DetectionsPerImage",
    "Agreement",
]


class Metric(ApiModel):
    """One figure with its bounds. A measurement within all bounds is a success, one outside any
    of them a failure, and one of too few samples, or without an answer, is inconclusive."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("metric", "query"),
            cel(
                "has(self.min) || has(self.max) || has(self.minRatio) || has(self.maxRatio)",
                "set at least one of min, max, minRatio, maxRatio",
            ),
            cel(
                "!(has(self.minRatio) || has(self.maxRatio)) || "
                "(has(self.metric) && self.metric != 'Agreement')",
                "minRatio and maxRatio compare a metric with stable's: a query and Agreement have "
                "none",
            ),
            cel("!has(self.min) || !has(self.max) || self.min <= self.max", "min is above max"),
            cel(
                "!has(self.minRatio) || !has(self.maxRatio) || self.minRatio <= self.maxRatio",
                "minRatio is above maxRatio",
            ),
        )
    )

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)
    """Name of the metric in status and events."""
    metric: Figure | None = None
    """Figure that the agents report: ErrorRate (0 to 1), LatencyP50, P95, P99 and QueueTime (ms),
    Throughput (requests/s a server), Confidence (mean of the boxes', 0 to 1), DetectionsPerImage,
    Agreement (0 to 1, while the candidate is shadowed)."""
    query: str | None = Field(default=None, min_length=1, max_length=2048)
    """PromQL that gives one number, asked of the operator's Prometheus. {{candidate}}, {{stable}}
    (version numbers), {{modelLine}}, {{deployment}} and {{namespace}} are filled in."""
    min: float | None = None
    """Lowest good value."""
    max: float | None = None
    """Highest good value."""
    min_ratio: float | None = Field(default=None, ge=0)
    """Lowest good share of stable's figure over the same time: 0.95 allows 5 % less."""
    max_ratio: float | None = Field(default=None, ge=0)
    """Highest good multiple of stable's figure over the same time: 1.2 allows 20 % more."""
    min_samples: int = Field(default=50, ge=0, le=1_000_000_000)
    """Requests (for Confidence: boxes; for Agreement: images) without which a measurement is
    inconclusive."""
    interval: Duration = "30s"
    """Time between two measurements."""
    count: int = Field(default=1, ge=1, le=1000)
    """Successful measurements that make the analysis a success."""
    failure_limit: int = Field(default=0, ge=0, le=1000)
    """Failed measurements that are tolerated; one more rolls back."""
    inconclusive_limit: int = Field(default=3, ge=0, le=1000)
    """Inconclusive measurements that are tolerated; one more pauses the rollout."""


class Analysis(ApiModel):
    """Figures that must hold before a rollout goes on."""

    metrics: list[Metric] = Field(
        min_length=1,
        max_length=10,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    """All must succeed."""


class Pause(ApiModel):
    """A halt after a step."""

    duration: Duration | None = None
    """How long; without it, until somebody promotes."""


class Step(ApiModel):
    """A wave: which servers have the candidate when it is done; those of earlier steps keep it."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("weight", "nodes", "pool")))

    weight: int | None = Field(default=None, ge=1, le=100)
    """Percent of all servers that have the candidate after this step, rounded up: at least one.
    Another server takes the place of one that could not load it."""
    nodes: int | None = Field(default=None, ge=1, le=100_000)
    """Number of servers that have the candidate after this step. Another server takes the place of
    one that could not load it."""
    pool: LabelValue | None = Field(default=None, min_length=1)
    """Pool whose servers all have the candidate after this step."""
    pause: Pause | None = None
    """A halt once the servers have it."""
    analysis: Analysis | None = None
    """What must hold once the servers have it, and until a timed pause is over; by default
    rollout.analysis."""


class Shadow(ApiModel):
    """The candidate answers copies of requests beside stable, before any user sees its answers."""

    share: float = Field(default=0.1, gt=0, le=1)
    """Share of requests that are copied, 0 to 1. Copies wait while the server is busy."""
    busy_percent: int = Field(default=25, ge=1, le=100)
    """Most of the time that the candidate may be at work, in percent: it is asked one copy at a
    time and rests between them. Less costs users less and measures fewer samples."""
    duration: Duration = "10m"
    """For how long."""
    servers: int | str = Field(default="10%", json_schema_extra=int_or_percent("servers", least=1))
    """Servers that shadow: a number, or a percentage rounded up. Another server takes the place of
    one that cannot."""
    analysis: Analysis | None = None
    """What must hold all the time and at its end, such as Agreement."""


class Rollout(ApiModel):
    """How a new version replaces the one that serves.

    Servers are never restarted for it: each loads the new version beside the old one, warms it
    up, then switches. Stages: prestage, shadow, then the steps; the last step is always all.
    """

    max_unavailable: int | str = Field(
        default=1, json_schema_extra=int_or_percent("maxUnavailable", least=1)
    )
    """Most servers (of a pool, where pools are declared) that switch at the same time: a number,
    or a percentage rounded down, but at least 1."""
    failure_budget: int | str = Field(
        default=0, json_schema_extra=int_or_percent("failureBudget", least=0)
    )
    """Servers that may fail to take the candidate: a number, or a percentage rounded down: 1% of
    10 servers is none. One more rolls back, and so does a candidate that no server could take,
    however large the budget."""
    progress_deadline_seconds: int = Field(default=600, ge=1, le=86_400)
    """When no server has got further for so long, those that are on their way count as failed. A
    server that has not reported for so long since its pod was made is not waited for."""
    steps: list[Step] = Field(default_factory=list, max_length=20)
    """Waves, in order. Without any, all servers follow within maxUnavailable."""
    analysis: Analysis | None = None
    """What must hold after each step that has no analysis of its own, and after the last."""
    shadow: Shadow | None = None
    """A stage before the first step."""
    prestage: bool = False
    """Fetch and verify the candidate on all servers before the first one switches."""
    prestage_concurrency: int | str = Field(
        default="10%", json_schema_extra=int_or_percent("prestageConcurrency", least=1)
    )
    """Servers that fetch at the same time while prestaging: a number, or a percentage rounded down,
    but at least 1."""
    paused: bool = False
    """Holds the rollout where it is; servers that are switching finish."""
    history_limit: int = Field(default=10, ge=1, le=20)
    """Ended rollouts that status.history keeps."""
