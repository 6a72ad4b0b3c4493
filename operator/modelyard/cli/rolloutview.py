"""The display model of a rollout: everything shown by `modelyard rollout status`. Pure.

It converts a Deployment as the API server returns it into a `View`, which `rolloutdraw.py` draws
and `-o json` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from modelyard.api.rolloutstatus import HaltReason
from modelyard.cli import times
from modelyard.cli.kube import Object, name, status
from modelyard.cli.rolloutstages import PAUSED, RUNNING, Stage, stages
from modelyard.contract import attribution

_UNITS = {
    "LatencyP50": " ms",
    "LatencyP95": " ms",
    "LatencyP99": " ms",
    "QueueTime": " ms",
    "Throughput": "/s",
}


@dataclass(frozen=True)
class Servers:
    """Number of servers by state, in total or of one pool."""

    pool: str | None
    """None: all servers. Empty: nodes without the pool label."""
    servers: int = 0
    updated: int = 0
    """Servers that serve the desired version."""
    ready: int | None = None
    offline: int = 0
    failed: int = 0
    staged: int = 0
    unfit: int = 0


@dataclass(frozen=True)
class Halt:
    """Why the rollout is paused."""

    reason: str
    since: str | None
    until: str | None
    text: str
    """What the rollout waits for."""
    command: str
    """The `modelyard rollout` command that ends the pause; empty if there is none."""


@dataclass(frozen=True)
class Measure:
    """One metric of the analysis with its last value."""

    name: str
    phase: str
    value: str
    stable: str
    bound: str
    samples: int | None
    successful: int
    count: int
    failed: int
    inconclusive: int
    message: str
    measured_at: str | None


@dataclass(frozen=True)
class Failure:
    """A server that failed to load its version."""

    name: str
    node: str
    message: str


@dataclass(frozen=True)
class View:
    """Everything that is displayed."""

    namespace: str
    name: str
    phase: str
    message: str
    reason: str
    """Reason of the condition Ready."""
    current: bool
    """Whether the status is for the current generation of the spec."""
    line: str
    target: str
    stable: str
    candidate: str
    digest: str
    """Digest of the candidate, else of stable."""
    trigger: str
    by: str
    """User who started the rollout; empty if it started automatically or is not known."""
    revision: int | None
    started: str | None
    rolling: bool
    stages: tuple[Stage, ...]
    halt: Halt | None
    analysis: str
    """Phase of the current analysis; empty if there is none."""
    analysis_started: str | None
    measures: tuple[Measure, ...]
    all: Servers
    pools: tuple[Servers, ...]
    rejected: Mapping[str, Any] | None
    override: Mapping[str, Any] | None
    history: tuple[Mapping[str, Any], ...]
    actions: tuple[Mapping[str, Any], ...] = ()
    """Actions on the current rollout."""
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The view as JSON types."""
        return asdict(self)

    @property
    def message_shown(self) -> bool:
        """Whether the message adds to the pause, which is drawn with its commands: the rollout may
        wait for something else first, such as a server."""
        if not self.message:
            return False
        return self.halt is None or self.reason not in ("", "Paused")

    @property
    def stage(self) -> Stage | None:
        """The current stage."""
        return next((s for s in self.stages if s.state in (RUNNING, PAUSED)), None)


def view(obj: Object, failures: tuple[Failure, ...] = ()) -> View:
    """The view of a Deployment; `failures` are some of its servers that failed."""
    spec, found, meta = obj["spec"], status(obj), obj["metadata"]
    rollout = found.get("rollout") or {}
    stable, candidate = found.get("stable") or {}, found.get("candidate") or {}
    analysis = rollout.get("analysis") or {}
    return View(
        namespace=str(meta.get("namespace") or ""),
        name=name(obj),
        phase=str(found.get("phase") or "Pending"),
        message=str(found.get("message") or ""),
        reason=_reason(found),
        current=_current(obj, found),
        line=str(spec.get("modelLine") or ""),
        target=_target(spec.get("target") or {}),
        stable=str(stable.get("modelVersion") or ""),
        candidate=str(candidate.get("modelVersion") or ""),
        digest=str((candidate or stable).get("digest") or ""),
        trigger=str(rollout.get("trigger") or ""),
        by=str(rollout.get("by") or ""),
        revision=rollout.get("revision") or found.get("revision"),
        started=rollout.get("startedAt") or found.get("rolloutStartedAt"),
        rolling=bool(rollout or candidate),
        stages=stages(spec, rollout),
        halt=_halt(rollout.get("paused")),
        analysis=str(analysis.get("phase") or ""),
        analysis_started=analysis.get("startedAt"),
        measures=tuple(
            _measure(m, _units(spec)) for m in analysis.get("metrics") or () if m.get("name")
        ),
        all=_all(found),
        pools=tuple(_pool(p) for p in found.get("pools") or ()),
        rejected=found.get("rejected"),
        override=found.get("override"),
        history=tuple(found.get("history") or ()),
        actions=tuple(rollout.get("actions") or ()),
        failures=failures,
    )


def _reason(found: Mapping[str, Any]) -> str:
    for condition in found.get("conditions") or ():
        if condition.get("type") == "Ready":
            return str(condition.get("reason") or "")
    return ""


def _current(obj: Object, found: Mapping[str, Any]) -> bool:
    generation = obj["metadata"].get("generation")
    return generation is None or found.get("observedGeneration") == generation


def _target(target: Mapping[str, Any]) -> str:
    edge = target.get("edge")
    if edge:
        chosen = edge.get("nodeSelector") or {}
        return "edge nodes " + ",".join(f"{k}={v}" for k, v in sorted(chosen.items()))
    replicas = (target.get("cluster") or {}).get("replicas")
    return f"target cluster, replicas {1 if replicas is None else replicas:,}"


def _halt(paused: Mapping[str, Any] | None) -> Halt | None:
    if not paused:
        return None
    reason, until = str(paused.get("reason") or ""), paused.get("until")
    who = attribution.readable(paused.get("by")) or "request"
    texts: dict[str, tuple[str, str]] = {
        HaltReason.STEP: ("paused" if until else "waits for a promote", "promote"),
        HaltReason.INCONCLUSIVE: ("the analysis is inconclusive", "promote"),
        HaltReason.REQUESTED: (f"paused by {who}", "resume"),
        HaltReason.SPEC: (f"spec.rollout.paused is true{attribution.by(paused.get('by'))}", ""),
    }
    text, command = texts.get(reason, ("paused", "promote"))
    return Halt(reason, paused.get("since"), until, text, command)


def _units(spec: Mapping[str, Any]) -> dict[str, str]:
    """Units of the metrics by name."""
    rollout = spec.get("rollout") or {}
    analyses = [rollout.get("analysis"), (rollout.get("shadow") or {}).get("analysis")]
    analyses += [step.get("analysis") for step in rollout.get("steps") or ()]
    return {
        str(m.get("name")): _UNITS.get(str(m.get("metric")), "")
        for analysis in analyses
        for m in (analysis or {}).get("metrics") or ()
    }


def _measure(metric: Mapping[str, Any], units: Mapping[str, str]) -> Measure:
    unit = units.get(metric["name"], "")

    def figure(value: Any) -> str:
        return "" if value is None else f"{value:.4g}{unit}"

    return Measure(
        name=str(metric["name"]),
        phase=str(metric.get("phase") or ""),
        value=figure(metric.get("value")),
        stable=figure(metric.get("stable")),
        bound=str(metric.get("bound") or ""),
        samples=metric.get("samples"),
        successful=int(metric.get("successful") or 0),
        count=int(metric.get("count") or 1),
        failed=int(metric.get("failed") or 0),
        inconclusive=int(metric.get("inconclusive") or 0),
        message=str(metric.get("message") or ""),
        measured_at=metric.get("measuredAt"),
    )


def _all(found: Mapping[str, Any]) -> Servers:
    return Servers(
        pool=None,
        servers=max(int(found.get(key) or 0) for key in ("replicas", "desiredReplicas")),
        updated=int(found.get("updatedReplicas") or 0),
        ready=int(found.get("readyReplicas") or 0),
        offline=int(found.get("offlineReplicas") or 0),
        failed=int(found.get("failedReplicas") or 0),
        staged=int(found.get("stagedReplicas") or 0),
        unfit=int(found.get("unfitReplicas") or 0),
    )


def _pool(pool: Mapping[str, Any]) -> Servers:
    return Servers(
        pool=str(pool.get("name") or ""),
        servers=int(pool.get("servers") or 0),
        updated=int(pool.get("updated") or 0),
        offline=int(pool.get("offline") or 0),
        failed=int(pool.get("failed") or 0),
    )


def ended(seen: View) -> bool | None:
    """Whether the rollout has ended: True if it succeeded, False if the Deployment is Degraded,
    None if it is still in progress."""
    if not seen.current:
        return None
    if seen.phase == "Degraded":
        return False
    return True if seen.phase in ("Healthy", "Suspended") and not seen.rolling else None


def outcome_of(seen: View, revision: int | None) -> str:
    """Outcome of an ended rollout, by its revision; empty if the history does not have it."""
    for record in seen.history:
        if revision is not None and record.get("revision") == revision:
            return str(record.get("outcome") or "")
    return ""


def elapsed(since: str | None, now: datetime) -> str:
    """Time since an API timestamp; empty for none."""
    then = times.moment(since)
    return times.span((now - then).total_seconds()) if then else ""
