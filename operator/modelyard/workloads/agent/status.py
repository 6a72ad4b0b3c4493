"""The ModelServer's status as the agent reports it: phases, reasons, conditions, merge patches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from modelyard.api.base import Condition
from modelyard.api.modelserver import (
    Figures,
    LoadedVersion,
    ModelServerPhase,
    ModelServerStatus,
    ServedPeriod,
    ShadowFigures,
    StagedVersion,
    Traffic,
)
from modelyard.api.monitoring import CaptureStatus, DriftStatus
from modelyard.contract.statustext import READY, RECONCILING, STALLED, timestamp, truncate
from modelyard.workloads.agent.monitoring.summary import is_urgent


class Reason(StrEnum):
    """Why the condition Ready is what it is."""

    SERVING = "Serving"
    """The assigned version answers."""
    FETCHING = "Fetching"
    """The artifact is being fetched."""
    LOADING = "Loading"
    """Triton loads the version and warms it up."""
    TRITON_UNAVAILABLE = "TritonUnavailable"
    """Triton does not answer."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    """The store cannot be reached; tried again."""
    BUCKET_MISSING = "BucketMissing"
    """The store's bucket does not exist (yet); tried again."""
    STORE_ACCESS_DENIED = "StoreAccessDenied"
    """The store refuses the agent's credentials."""
    STORE_MISCONFIGURED = "StoreMisconfigured"
    """The store's settings cannot be used."""
    ARTIFACT_MISSING = "ArtifactMissing"
    """The store does not have the artifact or its manifest."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The artifact is damaged."""
    MANIFEST_INVALID = "ManifestInvalid"
    """The manifest cannot be used, or describes another file."""
    NO_SPACE = "NoSpace"
    """The artifact does not fit on the server's disk, or the disk cannot be written."""
    INVALID_ASSIGNMENT = "InvalidAssignment"
    """The ModelServer's spec cannot be read by this agent."""
    UNSERVABLE = "Unservable"
    """The pipeline cannot serve such an artifact."""
    LOAD_FAILED = "LoadFailed"
    """Triton could not load the version; the message has Triton's own error."""
    WARM_UP_FAILED = "WarmUpFailed"
    """The version loaded but did not answer the test image."""
    SWITCH_FAILED = "SwitchFailed"
    """The version answered the test image but could not take over."""
    TRITON_CRASHED = "TritonCrashed"
    """Triton ended while it loaded the version."""
    INTERNAL_ERROR = "InternalError"
    """A bug of ours."""


@dataclass(frozen=True)
class Report:
    """The agent's view of its server at one moment."""

    phase: ModelServerPhase
    reason: Reason
    message: str
    generation: int | None
    """Of the ModelServer that the view is about."""
    loaded: LoadedVersion | None = None
    failures: int = 0
    stalled: bool = False
    """Whether trying again without a change is unlikely to help."""


@dataclass(frozen=True)
class Beside:
    """Parts of the status that come from other loops than the loader."""

    staged: StagedVersion | None = None
    shadow: ShadowFigures | None = None
    history: tuple[ServedPeriod, ...] = ()
    traffic: Traffic | None = None
    figures: Figures | None = None
    drift: DriftStatus | None = None
    capture: CaptureStatus | None = None


NOTHING = Beside()
PROGRESS = frozenset(
    {"phase", "message", "conditions", "observedGeneration", "reportedAt", "traffic", "figures"}
)
"""Fields in which a report of progress may differ from the one before."""
_MEASURED = ("traffic", "figures", "shadow")
"""Fields that change with every request."""
_DRIFT = "drift"
"""Waits for the next report, unless drift begins or ends."""
_CAPTURE = "capture"
"""Waits for the next report, unless it fails or a request is met."""


def in_progress(report: Report) -> bool:
    """Whether the server works on a first try of its assignment while another version serves."""
    return (
        report.reason in (Reason.FETCHING, Reason.LOADING)
        and report.loaded is not None
        and not report.failures
    )


def build(
    report: Report, observed: ModelServerStatus, beside: Beside, now: datetime
) -> ModelServerStatus:
    """The status for a report. Transition times carry over from `observed`, and so do figures where
    there was no request before nor since."""
    message = truncate(report.message)
    ready = report.phase is ModelServerPhase.READY
    conditions = [(READY, ready, report.reason)]
    if report.stalled:
        conditions.append((STALLED, True, report.reason))
    elif not ready:
        conditions.append((RECONCILING, True, report.reason))
    return ModelServerStatus(
        observed_generation=report.generation,
        phase=report.phase,
        message=message,
        conditions=[
            _condition(kind, value, reason, message, report.generation, observed, now)
            for kind, value, reason in conditions
        ],
        loaded=report.loaded,
        traffic=beside.traffic,
        failures=report.failures or None,
        figures=_figures(beside.figures, observed.figures),
        staged=beside.staged,
        shadow=beside.shadow,
        history=list(beside.history) or None,
        drift=beside.drift,
        capture=beside.capture,
    )


def difference(
    observed: ModelServerStatus, wanted: ModelServerStatus, *, measured: bool = False
) -> dict[str, Any]:
    """The merge patch from the observed to the wanted status; empty if they are equal.

    What is measured goes along, but is no difference by itself unless `measured`; the time of
    the report is not looked at. A field that is to go is null.
    """
    before, after = _dump(observed), _dump(wanted)
    keys = (before.keys() | after.keys()) - {"reportedAt"}
    differ = [key for key in sorted(keys) if _said(before, key) != _said(after, key)]
    if not measured and all(_only_measured(before, after, key) for key in differ):
        return {}
    patch = {key: after.get(key) for key in differ}
    # A merge patch would keep what an object's new state no longer has.
    for key, value in patch.items():
        if isinstance(value, dict):
            patch[key] = {**dict.fromkeys(before.get(key) or ()), **value}
    return patch


def _said(status: dict[str, Any], key: str) -> Any:
    value = status.get(key)
    if key == "traffic" and value:
        # A mean over no request is no change.
        return {k: v for k, v in value.items() if k != "meanMilliseconds"}
    return value


def _only_measured(before: dict[str, Any], after: dict[str, Any], key: str) -> bool:
    """Whether no more than figures differ. Which version is shadowed, and that it cannot be, is
    more."""
    if key == _DRIFT:
        return not is_urgent(_drift(before), _drift(after))
    if key == _CAPTURE:
        one, other = before.get(key) or {}, after.get(key) or {}
        return all(one.get(name) == other.get(name) for name in ("failure", "onDemand"))
    if key != "shadow":
        return key in _MEASURED
    names = ("modelVersion", "version", "digest", "manifestDigest", "failure")
    one, other = before.get(key), after.get(key)
    return bool(one and other and all(one.get(name) == other.get(name) for name in names))


def _drift(status: dict[str, Any]) -> DriftStatus | None:
    found = status.get(_DRIFT)
    return None if found is None else DriftStatus.model_validate(found)


def _figures(measured: Figures | None, observed: Figures | None) -> Figures | None:
    """A server without requests reports 0 once."""
    if _asked(measured) or _asked(observed):
        return measured
    return observed


def _asked(figures: Figures | None) -> bool:
    return figures is not None and figures.requests + figures.failures > 0


def _condition(
    kind: str,
    value: bool,
    reason: str,
    message: str,
    generation: int | None,
    observed: ModelServerStatus,
    now: datetime,
) -> Condition:
    before = next((c for c in observed.conditions or () if c.type == kind), None)
    unchanged = before is not None and before.status == str(value)
    return Condition(
        type=kind,
        status=str(value),
        reason=reason,
        message=message,
        last_transition_time=(
            before.last_transition_time if unchanged and before else timestamp(now)
        ),
        observed_generation=generation,
    )


def _dump(status: ModelServerStatus) -> dict[str, Any]:
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")
