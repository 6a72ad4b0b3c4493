"""How a rollout goes on: a pure function of its state, the fleet and the time.

    Prestage   every reachable server fetches and verifies the candidate
    Shadow     some servers run it beside stable, unseen
    Step …     waves of servers switch to it; the last one is all

A stage is over when its servers are there, its analysis has succeeded and its pause is over. A
failed analysis, or more failed servers than failureBudget, ends the rollout: back to stable.
Servers that cannot be reached neither count nor block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp, timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.analysis import (
    FAILED,
    INCONCLUSIVE,
    SUCCESSFUL,
    Measured,
    Sources,
    measure,
)
from modelyard.core.deployment.moving import Moves, move
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Tallies, at_most, tally
from modelyard.core.deployment.stages import PRESTAGE, SHADOW, STEP, Stage, position, stages
from modelyard.core.fleet.figures import value
from modelyard.core.plan import Event, Question


@dataclass
class Advance:
    """A rollout after one look."""

    state: dict[str, Any]
    """api.rolloutstatus.RolloutStatus."""
    moves: Moves = field(default_factory=Moves)
    outcome: str = ""
    """Succeeded, RolledBack or Aborted, if it has ended."""
    reason: str = ""
    message: str = ""
    """Why it has ended or does not go on, or how far it is."""
    halted: bool = False
    """Whether it waits for somebody, or for the end of a pause."""
    stuck: bool = False
    """Whether only somebody's help gets it on."""
    events: list[Event] = field(default_factory=list)
    questions: tuple[Question, ...] = ()
    looks: list[datetime] = field(default_factory=list)
    """When to look again although nothing has changed."""


def begin(
    observed: Observed,
    revision: int,
    trigger: str,
    now: datetime,
    *,
    stable: Release,
    full: bool = False,
) -> dict[str, Any]:
    """The state of a rollout that starts; `full` goes through it without halts."""
    first_stage = stages(observed.spec.rollout, edge=observed.edge)
    state: dict[str, Any] = {
        "revision": revision,
        "trigger": trigger,
        "startedAt": timestamp(now),
    }
    if full:
        state["promoteFull"] = True
    baseline = _baseline(observed, first_stage, stable)
    if baseline:
        state["baseline"] = baseline
    return _enter(state, first_stage, 0, now)


def _baseline(
    observed: Observed, all_stages: tuple[Stage, ...], stable: Release
) -> dict[str, float]:
    """Stable's figures before a rollout: what the last stage compares with, when no server has
    stable any more and no stage before it has compared."""
    total = observed.fleet.total(stable.key)
    found = {}
    for stage in all_stages:
        for metric in stage.analysis.metrics if stage.analysis else ():
            if metric.min_ratio is None and metric.max_ratio is None:
                continue
            figure, samples = value(str(metric.metric), total)
            if figure is not None and samples >= metric.min_samples:
                found[metric.name] = figure
    return found


def _enter(
    state: dict[str, Any], all_stages: tuple[Stage, ...], index: int, now: datetime
) -> dict[str, Any]:
    stage = all_stages[index]
    kept = ("revision", "trigger", "startedAt", "promoteFull", "baseline")
    entered = {key: state[key] for key in kept if key in state}
    entered |= {
        "stage": stage.kind,
        "steps": sum(s.kind == STEP for s in all_stages),
        "stageStartedAt": timestamp(now),
        "lastProgressAt": timestamp(now),
        "target": 0,
        "done": 0,
    }
    if stage.number is not None:
        entered["step"] = stage.number
    if (state.get("paused") or {}).get("reason") == "Requested":
        entered["paused"] = state["paused"]
    return entered


def advance(
    observed: Observed,
    state: dict[str, Any],
    *,
    stable: Release,
    candidate: Release,
    actions: Actions,
    now: datetime,
) -> Advance:
    """What a rollout does next."""
    return _Rollout(observed, state, stable, candidate, actions, now).run()


class _Rollout:
    """One look at a rollout."""

    def __init__(
        self,
        observed: Observed,
        state: dict[str, Any],
        stable: Release,
        candidate: Release,
        actions: Actions,
        now: datetime,
    ) -> None:
        self._observed = observed
        self._spec = observed.spec.rollout
        self._fleet = observed.fleet
        self._stable, self._candidate = stable, candidate
        self._actions = actions
        self._now = now
        self._stages = stages(self._spec, edge=observed.edge)
        self._tallies: Tallies = tally(self._fleet, candidate)
        self._failure_budget = at_most(self._spec.failure_budget, self._tallies.all.online, least=0)
        self.out = Advance(dict(state))

    def run(self) -> Advance:
        out = self.out
        self._heed()
        if "abort" in self._actions:
            return self._end("Aborted", reasons.ABORTED, "somebody aborted it")
        if not self._tallies.all.online:
            # Whoever comes back has all the time of progressDeadlineSeconds.
            out.state |= {"target": 0, "done": 0}
            out.message = "no server can be reached that the version fits"
            out.reason = reasons.NO_SERVER_REACHABLE
            return out
        for _ in range(len(self._stages) + 1):
            index = position(self._stages, out.state)
            stage = self._stages[index]
            reached = self._reach(stage)
            if out.outcome or out.stuck or not (reached and self._passed(stage)):
                break
            if index + 1 == len(self._stages):
                out.outcome, out.reason = "Succeeded", reasons.ROLLED_OUT
                out.message = self._verdicts() or f"{self._tallies.all.done} servers hold it"
                break
            out.state = _enter(out.state, self._stages, index + 1, self._now)
            out.moves = Moves()
        return out

    # What people ask for.

    def _heed(self) -> None:
        state, actions = self.out.state, self._actions
        if "pause" in actions:
            state["paused"] = {"reason": "Requested", "since": timestamp(self._now)}
        if "resume" in actions or "retry" in actions:
            paused = (state.get("paused") or {}).get("reason")
            if paused == "Inconclusive":
                state.pop("analysis", None)
            state.pop("paused", None)
            state["lastProgressAt"] = timestamp(self._now)
        if "promote" in actions:
            state.pop("paused", None)
            state["promoted"] = True
            if actions.full:
                state["promoteFull"] = True

    @property
    def _held(self) -> bool:
        """Whether somebody or the spec holds the rollout where it is."""
        state = self.out.state
        if self._spec.paused:
            state["paused"] = _halt(state, "Spec", self._now)
        elif (state.get("paused") or {}).get("reason") == "Spec":
            state.pop("paused")
            state["lastProgressAt"] = timestamp(self._now)
        return (state.get("paused") or {}).get("reason") in ("Spec", "Requested")

    # Getting there.

    def _reach(self, stage: Stage) -> bool:
        """Move servers on; whether all that the stage wants are there."""
        if self.out.state.get("promoteFull") and stage.kind != STEP:
            return True
        there = move(self._observed, self._candidate, self._tallies, stage, held=self._held)
        done, failed, want = there.done, there.failed, there.want
        self.out.moves = there.moves
        state = self.out.state
        # A server that came, left or was told to switch since has its own time.
        if (want, done) != (state["target"], state["done"]) or there.moves.assign:
            state["lastProgressAt"] = timestamp(self._now)
        state["target"], state["done"] = want, done
        if stage.kind != STEP and failed > self._failure_budget:
            # Fetches are tried again, and no user is concerned: they have until the deadline.
            failed = 0
        late = self._check_failures(stage, failed, want - done - failed)
        if self.out.outcome or self.out.stuck:
            return False
        reached = done + failed + late >= want
        if reached and not state.get("reachedAt"):
            state["reachedAt"] = timestamp(self._now)
            if len(self._stages) > 1:
                text = f"{self._candidate.name}: {stage.title} reached with {done} servers"
                self.out.events.append(Event("Normal", "StageReached", text))
        if not reached:
            self.out.reason = reasons.ROLLING_OUT
            self.out.message = self._how_far(stage, done, want)
            if self._held:
                self._wait(f"paused: {self.out.message}")
        return reached

    def _how_far(self, stage: Stage, done: int, want: int) -> str:
        verb = {PRESTAGE: "have fetched", SHADOW: "shadow"}.get(stage.kind, "have switched to")
        where = f" ({stage.title} of {self.out.state['steps']})" if len(self._stages) > 1 else ""
        offline = self._tallies.all.offline
        rest = f"; {offline} offline" if offline else ""
        return f"{done} of {want} servers {verb} {self._candidate.name}{where}{rest}"

    def _check_failures(self, stage: Stage, failed: int, underway: int) -> int:
        """End the rollout where too many servers have failed, or do not come back; else how many
        have not come back and count as failed."""
        state, now = self.out.state, self._now
        moving = underway and (stage.kind != STEP or self._tallies.all.switching)
        late = 0
        if moving and not state.get("paused"):
            limit = timedelta(seconds=self._spec.progress_deadline_seconds)
            until = parse_timestamp(state["lastProgressAt"]) + limit
            if now > until:
                late = self._tallies.all.switching if stage.kind == STEP else underway
            else:
                self.out.looks.append(until + timedelta(seconds=1))
        if failed + late <= self._failure_budget and (not late or late >= underway):
            return late
        why = f"{failed} of {self._tallies.all.online} servers failed to take it"
        if late:
            seconds = self._spec.progress_deadline_seconds
            why = f"no server has switched for {seconds} s, {failed + late} still have to"
            if failed + late <= self._failure_budget:
                why += " and maxUnavailable leaves no room for others"
        example = self._example()
        self._end(
            "RolledBack",
            reasons.FAILURE_BUDGET_EXCEEDED,
            f"{why}, failureBudget is {self._spec.failure_budget}{example}",
        )
        return 0

    def _example(self) -> str:
        for name in sorted(self._fleet.troubled):
            member = self._fleet.members[name]
            group = member.group
            if group and group.online and group.assigned == self._candidate.key:
                held = member.server.loaded.partition(":")[0] if member.server else ""
                kept = f", it goes on with {held}" if held else ""
                return f"; {name}{kept}: {self._fleet.troubled[name][1]}"
        return ""

    # Staying there.

    def _passed(self, stage: Stage) -> bool:
        """Whether a stage that is reached is over."""
        state, out = self.out.state, self.out
        if self._held:
            return self._wait(f"the rollout of {self._candidate.name} is paused")
        if state.get("promoteFull") or state.get("promoted"):
            state.pop("promoted", None)
            state.pop("paused", None)
            return True
        measured = self._measure(stage)
        if measured is not None:
            state["analysis"] = measured.status
            out.questions = measured.questions
            if measured.baseline:
                state["baseline"] = {**(state.get("baseline") or {}), **measured.baseline}
            if measured.phase == FAILED:
                self._end("RolledBack", reasons.ANALYSIS_FAILED, measured.telling())
                return False
            if measured.phase == INCONCLUSIVE:
                state["paused"] = _halt(state, "Inconclusive", self._now)
                return self._wait(
                    f"the analysis of {self._candidate.name} is inconclusive "
                    f"({measured.telling()}): promote, resume to measure again, or abort",
                    reasons.INCONCLUSIVE,
                )
        waits = self._pausing(stage)
        if measured is not None and measured.phase != SUCCESSFUL:
            if measured.next_look is not None:
                out.looks.append(measured.next_look)
            out.halted, out.reason = False, reasons.ROLLING_OUT
            out.message = f"{stage.title} is analysed: {measured.telling()}"
            return False
        if measured is not None and not _told(self._state_before(), SUCCESSFUL):
            text = f"{self._candidate.name}, {stage.title}: {measured.telling()}"
            out.events.append(Event("Normal", "AnalysisSucceeded", text))
        return not waits

    def _state_before(self) -> dict[str, Any]:
        """The state as it stands in the object."""
        found = meta.status(self._observed.obj).get("rollout") or {}
        same = all(found.get(k) == self.out.state.get(k) for k in ("revision", "stage", "step"))
        return dict(found) if same else {}

    def _measure(self, stage: Stage) -> Measured | None:
        state = self.out.state
        if stage.analysis is None:
            return None
        before = state.get("analysis")
        if before and before.get("phase") in (SUCCESSFUL, INCONCLUSIVE):
            return Measured(dict(before))
        key = self._candidate.key
        return measure(
            stage.analysis,
            before or {"startedAt": state["reachedAt"]},
            Sources(
                candidate=self._fleet.total(key),
                stable=self._fleet.total(self._stable.key),
                shadow=self._fleet.shadowed(key),
                shadowing=stage.kind == SHADOW,
                answer=self._observed.answer,
                words={
                    "candidate": str(self._candidate.version),
                    "stable": str(self._stable.version),
                    "modelLine": self._observed.spec.model_line,
                    "deployment": meta.name(self._observed.obj),
                    "namespace": meta.namespace(self._observed.obj),
                },
                baseline=state.get("baseline") or {},
            ),
            self._now,
            self._pause_ends(stage),
        )

    def _pause_ends(self, stage: Stage) -> datetime | None:
        """When the stage's own pause, or the shadow, is over by itself."""
        if stage.pause is None or stage.pause.duration is None:
            return None
        span = timedelta(seconds=duration_seconds(stage.pause.duration))
        return parse_timestamp(self.out.state["reachedAt"]) + span

    def _pausing(self, stage: Stage) -> bool:
        """Whether the stage's own pause is still on."""
        state = self.out.state
        if stage.pause is None:
            state.pop("paused", None)
            return False
        if stage.pause.duration is None:
            state["paused"] = _halt(state, "Step", self._now)
            name = meta.name(self._observed.obj)
            return not self._wait(
                f"{self._candidate.name} waits after {stage.title} for a promote: "
                f"modelyard rollout promote {name}, or annotate modelyard.dev/promote"
            )
        until = self._pause_ends(stage)
        assert until is not None
        if self._now >= until:
            state.pop("paused", None)
            return False
        halt = {**_halt(state, "Step", self._now), "until": timestamp(until)}
        self.out.looks.append(until)
        if stage.kind == SHADOW:  # Its time is no halt.
            self.out.reason = reasons.ROLLING_OUT
            self.out.message = f"{self._candidate.name} is shadowed until {timestamp(until)}"
            return True
        state["paused"] = halt
        return not self._wait(
            f"{self._candidate.name} pauses after {stage.title} until {timestamp(until)}"
        )

    def _wait(self, message: str, reason: str = reasons.PAUSED) -> bool:
        self.out.halted = True
        self.out.reason, self.out.message = reason, message
        return False

    def _verdicts(self) -> str:
        metrics = (self.out.state.get("analysis") or {}).get("metrics") or ()
        return "; ".join(f"{m['name']} {m['value']:.4g}" for m in metrics if "value" in m)

    def _end(self, outcome: str, reason: str, message: str) -> Advance:
        out = self.out
        out.moves = Moves()
        if self._candidate.key == self._stable.key:
            # Only the pods' template differs: there is no version to go back to.
            out.stuck, out.reason = True, reason
            out.message = f"new server pods: {message}; change spec.server to go on"
            if reason == reasons.ABORTED:
                out.state["paused"] = _halt(out.state, "Requested", self._now)
            return out
        out.outcome, out.reason = outcome, reason
        out.message = f"{self._candidate.name} was rolled back to {self._stable.name}: {message}"
        return out


def _halt(state: dict[str, Any], reason: str, now: datetime) -> dict[str, Any]:
    before = state.get("paused") or {}
    since = before.get("since") if before.get("reason") == reason else None
    return {"reason": reason, "since": since or timestamp(now)}


def _told(state: dict[str, Any], phase: str) -> bool:
    return (state.get("analysis") or {}).get("phase") == phase
