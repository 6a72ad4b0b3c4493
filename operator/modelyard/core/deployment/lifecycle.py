"""Which rollout follows which, and what is kept of one that ends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.deployment.actions import changed_by
from modelyard.core.deployment.current_release import named
from modelyard.core.deployment.desired_release import DesiredRelease
from modelyard.core.deployment.history import bounded, record
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release, titles
from modelyard.core.deployment.starting import begin
from modelyard.core.plan import Event


class RolloutLifecycle:
    """What begins and ends in this decision: rollouts, history, the rejected release."""

    def __init__(self, observed: Observed, wanted: DesiredRelease, now: datetime) -> None:
        status = meta.status(observed.obj)
        self._observed, self._wanted, self._now = observed, wanted, now
        self.history: list[Any] = list(status.get("history") or ())
        self.revision = int(status.get("revision") or 0)
        self.rejected = wanted.rejected
        override, release = wanted.override, wanted.release
        self.immediate = (
            override is not None
            and release is not None
            and int(override["version"]) == release.version
        )
        """Whether the release is one that somebody went back to."""
        self.events: list[Event] = []

    def resume_or_start(
        self, goal: Release, stable: Release
    ) -> tuple[dict[str, Any] | None, Release | None]:
        """The rollout that goes on or starts, and its candidate."""
        status = meta.status(self._observed.obj)
        state = dict(status["rollout"]) if status.get("rollout") else None
        served = status.get("candidate")
        before = named(self._observed, served) if served else None
        if state is not None and before is not None and not goal.same(before):
            if self.immediate:
                text = f"{self._who} went back to {goal.name}"
                self.end(state, before, stable, "Aborted", text)
            else:
                text = f"superseded by {goal.name}"
                self.end(state, before, stable, "Superseded", text)
            state = None
        if goal.same(stable):
            return None, None
        if state is None:
            self.revision += 1
            trigger, user = self._cause(goal, stable)
            # Somebody who goes back wants to be back: no halts on the way.
            state = begin(
                self._observed,
                self.revision,
                trigger,
                self._now,
                stable=stable,
                user=user,
                full=self.immediate,
            )
            # Its number: news that reads like what was told before is not told again.
            text = (
                f"rollout {self.revision}, {_brings(goal, stable)}: {trigger}{attribution.by(user)}"
            )
            self.events.append(Event("Normal", "RolloutStarted", text))
        return state, goal

    def _cause(self, goal: Release, stable: Release) -> tuple[str, str | None]:
        """What starts a rollout, for people, and who."""
        if goal.name != stable.name:
            return self._wanted.trigger, self._wanted.user
        if goal.content != stable.content:
            return f"ModelVersion {goal.name} was made again with other content", None
        obj = self._observed.obj
        # Between two looks: a new release of the operator makes pods anew, too.
        changed = meta.status(obj).get("observedGeneration") != meta.generation(obj)
        user = changed_by(obj) if changed else None
        if goal.key != stable.key:
            return "spec.pipeline has changed", user
        if changed:
            return "the spec of its server pods has changed", user
        return "the operator's settings of server pods have changed", None

    @property
    def _who(self) -> str:
        """Who went back, for people."""
        return attribution.readable((self._wanted.override or {}).get("by")) or "somebody"

    def end(
        self,
        state: dict[str, Any],
        candidate: Release,
        stable: Release,
        outcome: str,
        message: str,
    ) -> None:
        """Put a rollout into the history."""
        entry = record(state, candidate, stable, outcome, message, self._now)
        limit = self._observed.spec.rollout.history_limit
        self.history = bounded([entry, *self.history][:limit])
        kind = "Normal" if outcome in ("Succeeded", "Superseded") else "Warning"
        reason = {"Succeeded": "RolloutSucceeded", "Superseded": "RolloutSuperseded"}
        self.events.append(Event(kind, reason.get(outcome, outcome), message))


def _brings(goal: Release, stable: Release) -> str:
    if (goal.name, goal.content) != (stable.name, stable.content):
        return " instead of ".join(titles(goal, stable))
    return f"new settings for {goal.name}" if goal.key != stable.key else "new server pods"
