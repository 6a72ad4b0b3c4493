"""The holdout's profile of what answers: fetched with the artifact, compared with what the site
looks like."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.api.modelserver import Assignment
from modelyard.contract.profile import ProfileSummary
from modelyard.drift.profile import Profile
from modelyard.workloads.agent.holdout import profile_of
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.wish import pipeline_key
from modelyard.workloads.agent.watch import Assigned

AGAIN_SECONDS = 600.0
"""How long a profile that could not be had is not asked for again."""


class Profiles:
    """Profiles of releases. Blocking calls."""

    def __init__(
        self,
        fetch: Callable[[Assignment], ProfileSummary | None],
        assigned: Assigned,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` is `ArtifactCache.profile`."""
        self._fetch = fetch
        self._assigned = assigned
        self._clock = clock
        self._known: tuple[Release, Profile] | None = None
        self._due = 0.0

    def of(self, release: Release) -> Profile | None:
        """A release's profile; None if there is none, or it cannot be had now."""
        if self._known is not None and self._known[0] == release:
            return self._known[1]
        assignment = self._assigned.wanted.assignment if self._assigned.wanted else None
        if assignment is None or assignment.profile_digest is None:
            return None
        mine = assignment.digest, pipeline_key(assignment.pipeline)
        if mine != (release.artifact, release.pipeline) or self._clock() < self._due:
            return None
        summary = self._fetch(assignment)
        if summary is None:
            self._due = self._clock() + AGAIN_SECONDS
            return None
        profile = profile_of(summary, assignment.pipeline)
        self._known, self._due = (release, profile), 0.0
        return profile
