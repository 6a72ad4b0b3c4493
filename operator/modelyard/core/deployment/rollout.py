"""How a rollout goes on: a pure function of its state, the fleet and the time.

    Prestage   every reachable server fetches and verifies the candidate
    Shadow     some servers run it beside stable, unseen
    Step …     waves of servers switch to it; the last one is all

A stage is over when its servers are there, its analysis has succeeded and its pause is over. A
failed analysis, or more failed servers than failureBudget, ends the rollout: back to stable.
Servers that cannot be reached neither count nor block, unless the candidate seems to be the reason.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.contract import attribution
from modelyard.core.conditions import timestamp
from modelyard.core.deployment import activation, reasons
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.analysis import FAILED, INCONCLUSIVE, SUCCESSFUL
from modelyard.core.deployment.context import RolloutContext, StepResult
from modelyard.core.deployment.moving import Moves, Reach, move
from modelyard.core.deployment.node_loss import node_loss
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.pauses import halt, heed, held, pausing, wait
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.rollback import budget, check_failures, end, example
from modelyard.core.deployment.stages import PRESTAGE, SHADOW, STEP, Stage, position
from modelyard.core.deployment.starting import enter
from modelyard.core.deployment.verdicts import figures, measured_in, told
from modelyard.core.plan import Event


def advance(
    observed: Observed,
    state: dict[str, Any],
    *,
    stable: Release,
    candidate: Release,
    actions: Actions,
    now: datetime,
) -> StepResult:
    """What a rollout does next."""
    out = StepResult(dict(state))
    look = RolloutContext(observed, stable, candidate, actions, now, out)
    heed(look)
    if "abort" in look.actions:
        who = attribution.readable(look.actions.users.get("abort")) or "somebody"
        end(look, "Aborted", reasons.ABORTED, f"{who} aborted it")
        return out
    if not look.tallies.all.online:
        # Whoever comes back has all the time of progressDeadlineSeconds.
        out.state |= {"target": 0, "done": 0}
        out.message = "no server can be reached that the version fits"
        if activation.asleep(observed):
            out.message = f"no request lately: {candidate.name} goes on when one wakes a server"
        out.reason = reasons.NO_SERVER_REACHABLE
        return out
    for _ in range(len(look.stages) + 1):
        index = position(look.stages, out.state)
        stage = look.stages[index]
        reached = _reach(look, stage)
        if out.outcome or out.stuck or not (reached and _passed(look, stage)):
            break
        if index + 1 == len(look.stages):
            out.outcome, out.reason = "Succeeded", reasons.ROLLED_OUT
            out.message = figures(look) or f"{look.tallies.all.done} servers hold it"
            break
        out.state = enter(out.state, look.stages, index + 1, look.now)
        out.moves = Moves()
    return out


def _reach(look: RolloutContext, stage: Stage) -> bool:
    """Move servers on; whether all that the stage wants are there."""
    if look.out.state.get("promoteFull") and stage.kind != STEP:
        return True
    gone = node_loss(look) if stage.kind == STEP else ""
    there = move(
        look.observed,
        look.tallies,
        stage,
        stable=look.stable,
        candidate=look.candidate,
        held=held(look) or bool(gone),
    )
    done, failed, want = there.done, there.failed, there.want
    look.out.moves = there.moves
    state = look.out.state
    # A server that came, left or was told to switch since has its own time.
    if (want, done) != (state["target"], state["done"]) or there.moves.assign:
        state["lastProgressAt"] = timestamp(look.now)
    state["target"], state["done"] = want, done
    allowed = budget(look, stage, done, want)
    if stage.kind != STEP and failed > allowed:
        # Fetches are tried again, and no user is concerned: they have until the deadline.
        failed = 0
    late = check_failures(look, stage, failed, want - done - failed, allowed)
    if look.out.outcome or look.out.stuck:
        return False
    if gone:
        wait(look, gone, reasons.SERVERS_VANISH)
        return False
    reached = done + failed + late >= want
    if reached and not state.get("reachedAt"):
        state["reachedAt"] = timestamp(look.now)
        if len(look.stages) > 1:
            text = f"{look.candidate.name}: {stage.title} reached with {done} servers"
            look.out.events.append(Event("Normal", "StageReached", text))
    if not reached:
        look.out.reason = reasons.ROLLING_OUT
        look.out.message = _how_far(look, stage, there)
        if held(look):
            wait(look, f"paused: {look.out.message}")
    return reached


def _how_far(look: RolloutContext, stage: Stage, there: Reach) -> str:
    verb = {PRESTAGE: "have fetched", SHADOW: "shadow"}.get(stage.kind, "have switched to")
    where = f" ({stage.title} of {look.out.state['steps']})" if len(look.stages) > 1 else ""
    offline = look.tallies.all.offline - look.tallies.all.absent
    rest = f"; {offline} offline" if offline else ""
    if stage.kind != STEP and there.failed:
        rest += f"; {there.failed} could not and try again, {example(look, stage)}"
    return f"{there.done} of {there.want} servers {verb} {look.candidate.name}{where}{rest}"


def _passed(look: RolloutContext, stage: Stage) -> bool:
    """Whether a stage that is reached is over."""
    state, out = look.out.state, look.out
    if held(look):
        who = attribution.by((state.get("paused") or {}).get("by"), " by ")
        wait(look, f"the rollout of {look.candidate.name} is paused{who}")
        return False
    if state.get("promoteFull") or state.get("promoted"):
        state.pop("promoted", None)
        state.pop("paused", None)
        return True
    measured = measured_in(look, stage)
    if measured is not None:
        state["analysis"] = measured.status
        out.queries = measured.queries
        if measured.baseline:
            state["baseline"] = {**(state.get("baseline") or {}), **measured.baseline}
        if measured.phase == FAILED:
            end(look, "RolledBack", reasons.ANALYSIS_FAILED, measured.telling())
            return False
        if measured.phase == INCONCLUSIVE:
            state["paused"] = halt(state, "Inconclusive", look.now)
            wait(
                look,
                f"the analysis of {look.candidate.name} is inconclusive "
                f"({measured.telling()}): promote, resume to measure again, or abort",
                reasons.INCONCLUSIVE,
            )
            return False
    waits = pausing(look, stage)
    if measured is not None and measured.phase != SUCCESSFUL:
        if measured.next_look is not None:
            out.looks.append(measured.next_look)
        out.halted, out.reason = False, reasons.ROLLING_OUT
        out.message = f"{stage.title} is analysed: {measured.telling()}"
        return False
    if measured is not None and not told(look):
        text = f"{look.candidate.name}, {stage.title}: {measured.telling()}"
        out.events.append(Event("Normal", "AnalysisSucceeded", text))
    return not waits
