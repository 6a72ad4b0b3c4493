"""Measures a candidate against its bounds: one pure step an interval.

The verdicts follow Argo Rollouts' analysis: a metric has succeeded after `count` measurements
within the bounds, has failed after more than failureLimit outside, and is inconclusive after more
than inconclusiveLimit that say nothing.
https://argo-rollouts.readthedocs.io/en/stable/features/analysis/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.api.rollout import Analysis, Metric
from modelyard.core.conditions import cut, parse_timestamp, timestamp
from modelyard.core.fleet.figures import Total, agreement, value
from modelyard.core.plan import MetricQuery, QueryResult

RUNNING, SUCCESSFUL, FAILED, INCONCLUSIVE = "Running", "Successful", "Failed", "Inconclusive"
MOST_WORDS, ALL_WORDS = 200, 1000
"""Longest message about one metric, with room for what Prometheus says about a query; and about
all of an analysis, which may have ten: statuses stay small."""
_PLACEHOLDER = re.compile(r"\{\{\s*([\w.]*)\s*\}\}")
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
    answer: Callable[[str], QueryResult | None]
    words: Mapping[str, str]
    """What {{…}} in queries stand for."""
    baseline: Mapping[str, float]
    """Stable's figures when last compared, for when no server has stable any more."""


@dataclass
class Measured:
    """An analysis after one look."""

    status: dict[str, Any]
    """api.rolloutstatus.AnalysisStatus."""
    queries: tuple[MetricQuery, ...] = ()
    next_look: datetime | None = None
    """When the next measurement is due."""
    baseline: dict[str, float] = field(default_factory=dict)
    """Stable's figures as compared now, by metric."""

    @property
    def phase(self) -> str:
        """The analysis' phase."""
        return str(self.status["phase"])

    def telling(self) -> str:
        """The figures that decided, for people."""
        metrics = self.status["metrics"]
        told = [m for m in metrics if m["phase"] == self.phase] or metrics
        return "; ".join(describe(m) for m in told[:4])


def describe(metric: Mapping[str, Any]) -> str:
    """One metric with its last figure and bound."""
    name, found = metric["name"], metric.get("value")
    if found is None:
        return f"{name}: {metric.get('message') or 'not measured yet'}"
    text = f"{name} {found:.4g} (must be {metric.get('bound')})"
    if metric.get("message"):
        text += f": {metric['message']}"
    return text


def measure(
    analysis: Analysis,
    before: Mapping[str, Any] | None,
    sources: Sources,
    now: datetime,
    until: datetime | None = None,
) -> Measured:
    """Takes the measurements that are due. `before` is the status as of the last look, None at the
    start.

    With `until` it goes on until then: no metric has succeeded before, a failure counts at any
    time, and what is unclear counts only from then on.
    """
    early = until is not None and now < until
    started = str((before or {}).get("startedAt") or timestamp(now))
    known = {m["name"]: m for m in (before or {}).get("metrics") or ()}
    made = Measured({"phase": RUNNING, "startedAt": started, "metrics": []})
    queries: list[MetricQuery] = []
    looks: list[datetime] = []
    room = min(MOST_WORDS, ALL_WORDS // len(analysis.metrics))
    for metric in analysis.metrics:
        if metric.metric is not None and _skipped(metric, sources):
            continue
        status = {**_fresh(metric), **known.get(metric.name, {})}
        made.status["metrics"].append(status)
        if status["phase"] != RUNNING:
            continue
        due = parse_timestamp(str(status.get("measuredAt") or started))
        due += timedelta(seconds=_interval(metric))
        if now < due:
            looks.append(due)
            continue
        if metric.query is not None:
            query, problem = _filled(metric.query, sources.words)
            found = None
            if not problem:
                answer = sources.answer(query)
                if answer is None or answer.at < due:
                    queries.append(MetricQuery(query, due))
                    continue
                found, problem = answer.value, answer.problem
            _judge(status, metric, found, None, None, problem, early=early)
        else:
            _measure_figure(status, metric, sources, made.baseline, early=early)
        if "message" in status:
            status["message"] = cut(status["message"], room)
        status["measuredAt"] = timestamp(now)
        if status["phase"] == RUNNING:
            looks.append(now + timedelta(seconds=_interval(metric)))
    phases = [m["phase"] for m in made.status["metrics"]]
    made.status["phase"] = next(
        (p for p in (FAILED, INCONCLUSIVE, RUNNING) if p in phases), SUCCESSFUL
    )
    made.queries = tuple(queries)
    made.next_look = min(looks, default=None)
    return made


def _interval(metric: Metric) -> float:
    """Seconds between two measurements; status times are whole seconds."""
    return max(1.0, duration_seconds(metric.interval))


def _skipped(metric: Metric, sources: Sources) -> bool:
    """Agreement means something only in shadow, and throughput only outside."""
    if sources.shadowing:
        return metric.metric not in _IN_SHADOW
    return metric.metric == "Agreement"


def _fresh(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "phase": RUNNING,
        "bound": "",
        "successful": 0,
        "failed": 0,
        "inconclusive": 0,
        "count": metric.count,
    }


def _measure_figure(
    status: dict[str, Any],
    metric: Metric,
    sources: Sources,
    baseline: dict[str, float],
    *,
    early: bool,
) -> None:
    name = str(metric.metric)
    compared = metric.min_ratio is not None or metric.max_ratio is not None
    if name == "Agreement":
        found, samples = agreement(sources.shadow)
    elif sources.shadowing:
        found, samples = _in_shadow(name, sources.shadow)
    else:
        found, samples = value(name, sources.candidate)
    stable, stable_samples = value(name, sources.stable) if compared else (None, 0)
    problem = ""
    if found is None or samples < metric.min_samples:
        problem = f"{samples} samples, {metric.min_samples} needed"
    elif compared and sources.stable is None and metric.name in sources.baseline:
        stable = sources.baseline[metric.name]
    elif compared and (stable is None or stable_samples < metric.min_samples):
        problem = f"stable has {stable_samples} samples, {metric.min_samples} needed"
    elif stable is not None:
        baseline[metric.name] = stable
    _judge(status, metric, found, stable, samples, problem, early=early)


def _in_shadow(name: str, shadow: Total | None) -> tuple[float | None, int]:
    if shadow is None:
        return None, 0
    if name == "ErrorRate":
        images, failures = shadow.values[:2]
        asked = images + failures
        return (failures / asked if asked else None), asked
    return value(name, shadow)


def _judge(
    status: dict[str, Any],
    metric: Metric,
    found: float | None,
    stable: float | None,
    samples: int | None,
    problem: str,
    *,
    early: bool,
) -> None:
    bounds = _bounds(metric, stable)
    status["bound"] = " and ".join(f"{sign} {text}" for sign, _, text in bounds)
    for key, one in (("value", _rounded(found)), ("stable", _rounded(stable)),
                     ("samples", samples), ("message", problem or None)):  # fmt: skip
        if one is None:
            status.pop(key, None)
        else:
            status[key] = one
    if problem or found is None:
        if early:
            return
        status["inconclusive"] += 1
        if status["inconclusive"] > metric.inconclusive_limit:
            status["phase"] = INCONCLUSIVE
        return
    good = all(found >= b if sign == "≥" else found <= b for sign, b, _ in bounds)
    status["successful" if good else "failed"] += 1
    if status["failed"] > metric.failure_limit:
        status["phase"] = FAILED
    elif status["successful"] >= metric.count and not early:
        status["phase"] = SUCCESSFUL


def _bounds(metric: Metric, stable: float | None) -> list[tuple[str, float, str]]:
    """(sign, bound, text) of each bound."""
    found = [
        (sign, bound, f"{bound:g}")
        for sign, bound in (("≥", metric.min), ("≤", metric.max))
        if bound is not None
    ]
    for sign, ratio in (("≥", metric.min_ratio), ("≤", metric.max_ratio)):
        if ratio is not None:
            bound = ratio * (stable or 0.0)
            text = f"{ratio:g} × stable" + (f" ({bound:.4g})" if stable is not None else "")
            found.append((sign, bound, text))
    return found


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def _filled(query: str, words: Mapping[str, str]) -> tuple[str, str]:
    """The query with its words filled in, and what is wrong with it: Prometheus would take a
    misspelt word for a value that nothing has."""
    unknown = [word for word in _PLACEHOLDER.findall(query) if word not in words]
    if unknown:
        known = ", ".join(words)
        return query, f"the query has {{{{{unknown[0]}}}}}, which stands for nothing: take {known}"
    return _PLACEHOLDER.sub(lambda found: words[found[1]], query), ""
