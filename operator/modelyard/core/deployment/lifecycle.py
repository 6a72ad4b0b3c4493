"""Which rollout follows which, and what is kept of one that ends.

`follow` decides where a Deployment's rollouts stand: the present one is superseded, goes on, ends,
or a new one starts. How one goes on: rollout.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.rolloutstatus import Outcome, RejectedVersion, RolloutRecord, RolloutState
from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.deployment.actions import Actions, changed_by
from modelyard.core.deployment.context import RolloutContext, StepResult, begun_by
from modelyard.core.deployment.current_release import named
from modelyard.core.deployment.desired_release import DesiredRelease, reject
from modelyard.core.deployment.history import bounded, record
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release, titles
from modelyard.core.deployment.rollout import advance
from modelyard.core.deployment.selection import Tallies, tally
from modelyard.core.deployment.starting import begin
from modelyard.core.fleet.projections import version_in
from modelyard.core.plan import Event

_EVENTS = {Outcome.SUCCEEDED: "RolloutSucceeded", Outcome.SUPERSEDED: "RolloutSuperseded"}
"""Reasons of the events of outcomes that are no warning."""


@dataclass(frozen=True)
class Course:
    """Where a Deployment's rollouts stand after a decision."""

    stable: Release
    candidate: Release | None
    """None if no rollout is going on."""
    rollout: StepResult | None
    """Of the rollout that is going on, or that has just ended."""
    rejected: RejectedVersion | None
    tallies: Tallies
    """Of the candidate, or of stable without one."""
    history: tuple[RolloutRecord, ...]
    revision: int
    immediate: bool
    """Whether the release is one that somebody went back to: servers follow at once."""
    events: tuple[Event, ...]

    @property
    def state(self) -> RolloutState | None:
        """Of the rollout that is going on."""
        going_on = self.rollout is not None and self.candidate is not None
        return self.rollout.state if going_on and self.rollout else None

    @property
    def ended(self) -> bool:
        """Whether a rollout has just ended by itself."""
        return self.rollout is not None and self.rollout.end is not None


@dataclass(frozen=True)
class _Ledger:
    """What is kept of rollouts, and what is said of them."""

    observed: Observed
    moment: datetime
    history: tuple[RolloutRecord, ...]
    revision: int
    events: tuple[Event, ...] = ()

    def ended(
        self,
        state: RolloutState,
        *,
        candidate: Release,
        stable: Release,
        outcome: Outcome,
        message: str,
    ) -> _Ledger:
        """With a rollout that has ended in the history."""
        entry = record(
            state,
            candidate=candidate,
            stable=stable,
            outcome=outcome,
            message=message,
            moment=self.moment,
        )
        limit = self.observed.spec.rollout.history_limit
        kind = "Normal" if outcome in _EVENTS else "Warning"
        event = Event(kind, _EVENTS.get(outcome, outcome.value), message)
        history = bounded((entry, *self.history)[:limit])
        return replace(self, history=history, events=(*self.events, event))


def follow(
    observed: Observed,
    wanted: DesiredRelease,
    *,
    goal: Release,
    stable: Release,
    actions: Actions,
    now: datetime,
) -> Course:
    """Bring servers from `stable` to `goal`, by the rollout that is going on or a new one."""
    recorded, moment = observed.recorded, now.replace(microsecond=0)
    history = recorded.history[: observed.spec.rollout.history_limit]
    ledger = _Ledger(observed, moment, history, recorded.revision)
    # New settings of the version that somebody went back to earlier are a rollout like any other.
    settings = version_in(goal.key) == version_in(stable.key) and not goal.same(stable)
    immediate = _goes_back(wanted) and not settings
    state = recorded.rollout
    before = named(observed, recorded.candidate) if recorded.candidate else None
    if state is not None and before is not None and not goal.same(before):
        ledger = _superseded(ledger, state, wanted, before=before, goal=goal, stable=stable)
        state = None
    course = Course(
        stable=stable,
        candidate=None,
        rollout=None,
        rejected=wanted.rejected,
        tallies=Tallies(stable),
        history=ledger.history,
        revision=ledger.revision,
        immediate=immediate,
        events=ledger.events,
    )
    if goal.same(stable):
        return replace(course, tallies=tally(observed.fleet, stable))
    if state is None:
        state, ledger = _started(ledger, wanted, goal=goal, stable=stable, full=immediate)
        actions = actions.for_new_rollout
    begun = begun_by(observed, state, stable, goal)
    context = RolloutContext(observed, stable, goal, actions, now, begun)
    result = advance(context, state)
    course = replace(course, rollout=result, revision=ledger.revision)
    if result.end is None:
        return replace(course, candidate=goal, tallies=context.tallies, events=ledger.events)
    return _ended(course, ledger, result, candidate=goal)


def _ended(course: Course, ledger: _Ledger, result: StepResult, *, candidate: Release) -> Course:
    """The course after a rollout that has just ended."""
    end = result.end
    assert end is not None
    ledger = ledger.ended(
        result.state,
        candidate=candidate,
        stable=course.stable,
        outcome=end.outcome,
        message=end.message,
    )
    stable, rejected = course.stable, course.rejected
    if end.outcome == Outcome.SUCCEEDED:
        stable = candidate
    else:
        rejected = reject(candidate, end.reason, end.message, ledger.moment)
    return replace(
        course,
        stable=stable,
        rejected=rejected,
        tallies=tally(ledger.observed.fleet, stable),
        history=ledger.history,
        events=ledger.events,
    )


def _goes_back(wanted: DesiredRelease) -> bool:
    """Whether the wanted release is one that somebody went back to by hand."""
    override, release = wanted.override, wanted.release
    return override is not None and release is not None and override.version == release.version


def _superseded(
    ledger: _Ledger,
    state: RolloutState,
    wanted: DesiredRelease,
    *,
    before: Release,
    goal: Release,
    stable: Release,
) -> _Ledger:
    """Another release is wanted than the one that is being rolled out."""
    outcome, text = Outcome.SUPERSEDED, f"superseded by {goal.name}"
    if _goes_back(wanted):
        user = wanted.override.by if wanted.override else None
        who = attribution.readable(user) or "somebody"
        outcome, text = Outcome.ABORTED, f"{who} went back to {goal.name}"
    return ledger.ended(state, candidate=before, stable=stable, outcome=outcome, message=text)


def _started(
    ledger: _Ledger, wanted: DesiredRelease, *, goal: Release, stable: Release, full: bool
) -> tuple[RolloutState, _Ledger]:
    """A rollout that starts. Somebody who goes back wants to be back: no halts on the way."""
    trigger, user = _cause(ledger.observed, wanted, goal=goal, stable=stable)
    revision = ledger.revision + 1
    state = begin(
        ledger.observed,
        revision=revision,
        trigger=trigger,
        stable=stable,
        now=ledger.moment,
        user=user,
        full=full,
    )
    # Its number: an event that reads like an earlier one is not sent again.
    text = f"rollout {revision}, {_brings(goal, stable)}: {trigger}{attribution.by(user)}"
    event = Event("Normal", "RolloutStarted", text)
    return state, replace(ledger, revision=revision, events=(*ledger.events, event))


def _cause(
    observed: Observed, wanted: DesiredRelease, *, goal: Release, stable: Release
) -> tuple[str, str | None]:
    """What starts a rollout, for people, and who."""
    if goal.name != stable.name:
        return wanted.trigger, wanted.user
    if goal.content != stable.content:
        return f"ModelVersion {goal.name} was made again with other content", None
    obj = observed.obj
    # Between two decisions: a new release of the operator makes pods anew, too.
    changed = observed.recorded.generation != meta.generation(obj)
    user = changed_by(obj) if changed else None
    if goal.key != stable.key:
        return "spec.pipeline has changed", user
    if changed:
        return "the spec of its server pods has changed", user
    return "the operator's settings of server pods have changed", None


def _brings(goal: Release, stable: Release) -> str:
    if (goal.name, goal.content) != (stable.name, stable.content):
        return " instead of ".join(titles(goal, stable))
    return f"new settings for {goal.name}" if goal.key != stable.key else "new server pods"
