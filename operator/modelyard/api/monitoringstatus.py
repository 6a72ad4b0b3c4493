"""What a Deployment's status says of monitoring: how many servers drift, episodes, shares.

The wire format of `status.monitoring` and, at the same time, the value that decisions go by, as
with rollouts (rolloutstatus.py): frozen, parsed once, written back once. What users configure and
what servers report: monitoring.py. Who decides: core/deployment/monitoring.py (what servers are to
do) and core/deployment/drifting.py (whether the Deployment drifts).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from modelyard.api.rolloutstatus import StateModel, Time


class MonitoringAction(StrEnum):
    """What people may ask of monitoring; also the annotation `modelyard.dev/NAME`."""

    ACCEPT = "drift-accept"
    """What the servers see is the new normal."""
    RESET = "drift-reset"
    """Servers are to take new baselines."""
    CAPTURE = "capture"
    """Images are wanted now: `NUMBER/ID`, of all servers together."""


class EpisodeOutcome(StrEnum):
    """Why an episode of drift ended."""

    SUBSIDED = "Subsided"
    """Fewer servers than the threshold drifted for as long as it takes to begin."""
    ACCEPTED = "Accepted"
    """Somebody accepted what the servers see as the new normal."""
    RESET = "Reset"
    """Somebody asked for new baselines."""
    SWITCHED_OFF = "SwitchedOff"
    """spec.monitoring.drift was removed."""


class DriftCounts(StateModel):
    """Servers that drift, of those that could show it."""

    online: int = 0
    """Servers that can be reached."""
    baseline: int = 0
    """Of these, servers with a complete baseline."""
    drifting: int = 0
    """Of these, servers that drift."""
    threshold: int = 1
    """How many must drift at once before it means something."""
    above_since: Time | None = None
    """Since when so many drift."""


class PoolDrift(DriftCounts):
    """DriftCounts of one pool."""

    name: str
    """The pool; empty for nodes without the label."""


class FindingCount(StateModel):
    """Servers with a finding that is no drift."""

    kind: str
    """What was found: a FindingKind."""
    servers: int
    """Number of servers."""


class Episode(StateModel):
    """Drift of the Deployment, from its first alarm to its end."""

    number: int
    """Counts the Deployment's episodes."""
    signal: str
    """Signal in which most servers drifted when it began."""
    since: Time
    """Since when enough servers drifted."""
    first_alarm_time: Time | None = None
    """The first alarm of one of its servers, by the server's clock."""
    artifact_digest: str | None = None
    """Artifact that most of its servers served when it began."""
    pools: tuple[str, ...] | None = None
    """Pools that drifted by themselves, at some time, at most ten; none where all servers together
    did."""
    servers: int = 0
    """Most servers that drifted at the same time."""
    size: float | None = None
    """Median size of the drift in `signal`, in standard deviations of a block of the baseline."""
    below_since: Time | None = None
    """Since when too few servers drift."""


class EpisodeRecord(StateModel):
    """An episode that has ended."""

    number: int
    """Its number."""
    signal: str
    """Its signal."""
    since: Time
    """When it began."""
    ended_at: Time
    """When it ended."""
    outcome: EpisodeOutcome
    """Why."""
    by: str | None = None
    """User who ended it, where the API server says so."""
    artifact_digest: str | None = None
    """Artifact that most of its servers served when it began."""
    servers: int = 0
    """Most servers that drifted at the same time."""


class CaptureShare(StateModel):
    """What each server may keep within the bounds of the Deployment."""

    servers: int
    """Servers that the bounds were last divided among."""
    random: int = 0
    """Images a day of each server, drawn uniformly over time."""
    uncertain: int = 0
    """Images a day of each server with a box of doubtful confidence."""
    drifting: int = 0
    """Images a day of each server while it drifts."""


class CaptureRequest(StateModel):
    """Images that somebody asked for now."""

    value: str = Field(max_length=32)
    """Value of the annotation `modelyard.dev/capture` that was last acted on."""
    each: str | None = Field(default=None, max_length=24)
    """What servers that take part are asked for: `NUMBER/ID`."""
    servers: int = 0
    """Servers that are to take part."""
    assigned: bool = False
    """Whether all of them have been asked."""
    problem: str | None = Field(default=None, max_length=256)
    """Why nobody is asked, and what to do."""


class MonitoringStatus(StateModel):
    """What is known of all servers together."""

    drift: DriftCounts | None = None
    """All servers."""
    pools: tuple[PoolDrift, ...] | None = None
    """Pools in which servers drift, where pools are declared; at most ten."""
    findings: tuple[FindingCount, ...] | None = None
    """Findings that are no drift."""
    episode: Episode | None = None
    """The drift that goes on."""
    episodes: tuple[EpisodeRecord, ...] | None = None
    """Episodes that have ended, the latest first; at most five."""
    share: CaptureShare | None = None
    """What each server may keep."""
    accepted: str | None = Field(default=None, max_length=64)
    """Last value of the annotation `modelyard.dev/drift-accept`, which servers are told."""
    reset: str | None = Field(default=None, max_length=64)
    """Last value of the annotation `modelyard.dev/drift-reset`, which servers are told."""
    requested: CaptureRequest | None = None
    """Images that somebody asked for."""
