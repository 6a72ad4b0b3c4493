"""Measures a candidate against its bounds: one pure step an interval.

The verdicts follow Argo Rollouts' analysis: a metric has succeeded after `count` measurements
within the bounds, has failed after more than failureLimit outside, and is inconclusive after more
than inconclusiveLimit that say nothing.
https://argo-rollouts.readthedocs.io/en/stable/features/analysis/

Where the figures come from: figures.py of core/fleet, and Prometheus. What follows from a verdict:
rollout.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modelyard.api.base import duration_seconds
from modelyard.api.rollout import Analysis, Metric
from modelyard.api.rolloutstages import analysis_content
from modelyard.api.rolloutstatus import AnalysisPhase, AnalysisStatus, MetricStatus
from modelyard.contract.statustext import truncate
from modelyard.core.deployment.bounds import Figure, bounds_of, resolved, wording
from modelyard.core.deployment.queries import filled
from modelyard.core.fleet.figures import Total, agreement, value
from modelyard.core.plan import MetricQuery, QueryResult

RUNNING, SUCCESSFUL = AnalysisPhase.RUNNING, AnalysisPhase.SUCCESSFUL
FAILED, INCONCLUSIVE = AnalysisPhase.FAILED, AnalysisPhase.INCONCLUSIVE
METRIC_MESSAGE, ALL_MESSAGES = 200, 1000
"""Longest message about one metric, with what Prometheus says about a query; and about all of an
analysis, which may have ten: statuses stay small."""
_IN_SHADOW = ("ErrorRate", "LatencyP50", "LatencyP95", "LatencyP99", "Agreement")


@dataclass(frozen=True)
class Sources:
    """Where figures come from."""

    candidate: Total | None
    """What servers with the candidate report together; while it is shadowed, see `shadow`."""
    stable: Total | None
    shadow: Total | None
    """What servers that shadow the candidate report together."""
    shadowing: bool
    """Whether the candidate is only shadowed yet."""
    answers: Mapping[str, QueryResult]
    words: Mapping[str, str]
    """What {{…}} in queries stand for."""
    baseline: Mapping[str, float]
    """Stable's figures when last compared (bounds.resolved), for when no server has stable any
    more."""


@dataclass(frozen=True)
class Measured:
    """An analysis after one decision."""

    status: AnalysisStatus
    queries: tuple[MetricQuery, ...] = ()
    next_due: datetime | None = None
    """When the next measurement is due."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    """Stable's figures as compared now (bounds.resolved), by metric."""

    @property
    def phase(self) -> AnalysisPhase:
        """Phase of the whole analysis."""
        return self.status.phase

    def summary(self) -> str:
        """The figures that decided, for people."""
        metrics = self.status.metrics
        decisive = [m for m in metrics if m.phase == self.phase] or metrics
        return "; ".join(describe(m) for m in decisive[:4])


@dataclass(frozen=True)
class _Reading:
    """One metric after one decision."""

    status: MetricStatus
    query: MetricQuery | None = None
    due: datetime | None = None
    stable: float | None = None


def describe(metric: MetricStatus) -> str:
    """One metric with its last figure and bound."""
    if metric.value is None:
        return f"{metric.name}: {metric.message or 'not measured yet'}"
    text = f"{metric.name} {metric.value:.4g} (must be {metric.bound})"
    return f"{text}: {metric.message}" if metric.message else text


def baseline_key(metric: Metric) -> str:
    """Under which stable's figure is kept: a metric of the same name may be edited to measure
    another figure."""
    return f"{metric.name} {metric.metric}"


def measure(
    analysis: Analysis,
    before: AnalysisStatus | None,
    sources: Sources,
    *,
    started: datetime,
    now: datetime,
    until: datetime | None = None,
) -> Measured:
    """Takes the measurements that are due. `before` is the status of the last decision; one of
    another analysis does not count. `started` is when a new one begins.

    With `until` it goes on until then: no metric has succeeded before, a failure counts at any
    time, and what is unclear counts only from then on.
    """
    content = analysis_content(analysis)
    if before is None or before.content not in (None, content):
        before = AnalysisStatus(phase=RUNNING, started_at=started)
    early = until is not None and now < until
    known = {m.name: m for m in before.metrics}
    limit = min(METRIC_MESSAGE, ALL_MESSAGES // len(analysis.metrics))
    readings = [
        _read(
            metric,
            known.get(metric.name) or _unmeasured(metric),
            sources,
            since=before.started_at,
            now=now,
            early=early,
            limit=limit,
        )
        for metric in analysis.metrics
        if metric.metric is None or not _skipped(metric, sources)
    ]
    phases = [reading.status.phase for reading in readings]
    return Measured(
        status=AnalysisStatus(
            phase=next((p for p in (FAILED, INCONCLUSIVE, RUNNING) if p in phases), SUCCESSFUL),
            started_at=before.started_at,
            metrics=tuple(reading.status for reading in readings),
            content=content,
        ),
        queries=tuple(r.query for r in readings if r.query is not None),
        next_due=min((r.due for r in readings if r.due is not None), default=None),
        baseline=_baseline(analysis, readings),
    )


def _baseline(analysis: Analysis, readings: Sequence[_Reading]) -> dict[str, float]:
    """Stable's figures as compared now, by `baseline_key`."""
    stable = {reading.status.name: reading.stable for reading in readings}
    found = {baseline_key(metric): stable.get(metric.name) for metric in analysis.metrics}
    return {key: figure for key, figure in found.items() if figure is not None}


def _read(
    metric: Metric,
    status: MetricStatus,
    sources: Sources,
    *,
    since: datetime,
    now: datetime,
    early: bool,
    limit: int,
) -> _Reading:
    """Take a metric's measurement if it is due."""
    if status.phase != RUNNING:
        return _Reading(status)
    interval = timedelta(seconds=_interval(metric))
    due = (status.measured_at or since) + interval
    if now < due:
        return _Reading(status, due=due)
    if metric.query is not None:
        query, problem = filled(metric.query, sources.words)
        answer = None if problem else sources.answers.get(query)
        if not problem and (answer is None or answer.at < due):
            return _Reading(status, query=MetricQuery(query, due))
        figure = Figure(answer.value if answer else None)
        problem = answer.problem if answer else problem
        baseline = None
    else:
        figure, problem, baseline = _figure(metric, sources)
    judged = _judge(status, metric, figure, truncate(problem, limit), early=early)
    judged = judged.but(measured_at=now)
    return _Reading(
        judged, due=now + interval if judged.phase == RUNNING else None, stable=baseline
    )


def _interval(metric: Metric) -> float:
    """Seconds between two measurements; status times are whole seconds."""
    return max(1.0, duration_seconds(metric.interval))


def _skipped(metric: Metric, sources: Sources) -> bool:
    """Agreement means something only in shadow, and throughput only outside."""
    if sources.shadowing:
        return metric.metric not in _IN_SHADOW
    return metric.metric == "Agreement"


def _unmeasured(metric: Metric) -> MetricStatus:
    return MetricStatus(name=metric.name, phase=RUNNING, count=metric.count)


def _figure(metric: Metric, sources: Sources) -> tuple[Figure, str, float | None]:
    """What the agents report of a metric, why it cannot be judged, and stable's figure if it was
    compared with."""
    name = str(metric.metric)
    compared = metric.min_ratio is not None or metric.max_ratio is not None
    if name == "Agreement":
        found, samples = agreement(sources.shadow)
    elif sources.shadowing:
        found, samples = _in_shadow(name, sources.shadow)
    else:
        found, samples = value(name, sources.candidate)
    stable, stable_samples = value(name, sources.stable) if compared else (None, 0)
    figure = Figure(found, samples, stable, stable_samples)
    if found is None or samples < metric.min_samples:
        return figure, f"{samples} samples, {metric.min_samples} needed", None
    if not compared:
        return figure, "", None
    kept = sources.baseline.get(baseline_key(metric))
    if sources.stable is None and kept is not None:
        # It was only kept where it rested on as many samples as are needed. On how many more is
        # not known any longer, so a rate counts as no finer than these show.
        figure, baseline = Figure(found, samples, kept, metric.min_samples), None
    elif stable is None or stable_samples < metric.min_samples:
        text = f"stable has {stable_samples} samples, {metric.min_samples} needed"
        return figure, text, None
    else:
        baseline = resolved(name, stable, stable_samples)
    if metric.max_ratio is not None and not (baseline or figure.stable):
        return figure, "stable's figure is 0: no multiple of it says anything", None
    return figure, "", baseline


def _in_shadow(name: str, shadow: Total | None) -> tuple[float | None, int]:
    if shadow is None:
        return None, 0
    if name == "ErrorRate":
        images, failures = shadow.values[:2]
        asked = images + failures
        return (failures / asked if asked else None), asked
    return value(name, shadow)


def _judge(
    status: MetricStatus, metric: Metric, figure: Figure, problem: str, *, early: bool
) -> MetricStatus:
    """The metric's status with one more measurement."""
    bounds = bounds_of(metric, figure)
    measured = status.but(
        bound=wording(bounds),
        value=_rounded(figure.value),
        stable=_rounded(figure.stable),
        samples=figure.samples,
        message=problem or None,
    )
    if problem or figure.value is None:
        if early:
            return measured
        unclear = status.inconclusive + 1
        phase = INCONCLUSIVE if unclear > metric.inconclusive_limit else RUNNING
        return measured.but(inconclusive=unclear, phase=phase)
    if not all(bound.holds(figure.value) for bound in bounds):
        failed = status.failed + 1
        return measured.but(
            failed=failed, phase=FAILED if failed > metric.failure_limit else RUNNING
        )
    successful = status.successful + 1
    enough = successful >= metric.count and not early
    return measured.but(successful=successful, phase=SUCCESSFUL if enough else RUNNING)


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")
