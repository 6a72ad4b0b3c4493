"""When a rollout ends before its last stage: too many servers fail, or do not come back."""

from __future__ import annotations

from datetime import timedelta

from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.context import RolloutContext
from modelyard.core.deployment.moving import Moves
from modelyard.core.deployment.pauses import halt
from modelyard.core.deployment.releases import titles
from modelyard.core.deployment.selection import first
from modelyard.core.deployment.stages import PRESTAGE, SHADOW, STEP, Stage
from modelyard.core.fleet.projections import name_in

_DONE = {PRESTAGE: "fetched it", SHADOW: "begun to shadow it", STEP: "switched"}


def budget(look: RolloutContext, stage: Stage, done: int, want: int) -> int:
    """Servers that may fail. While no server holds the candidate (or has fetched it, or shadows
    it), one of the stage's must remain that may still do so: a candidate that nobody could load
    is never a success, whatever failureBudget allows."""
    holding = look.tallies.all.done if stage.kind == STEP else done
    return look.failure_budget if holding else min(look.failure_budget, max(0, want - 1))


def check_failures(
    look: RolloutContext, stage: Stage, failed: int, underway: int, allowed: int
) -> int:
    """End the rollout where more than `allowed` servers have failed, or do not come back; else how
    many have not come back and count as failed."""
    state, now = look.out.state, look.now
    moving = underway and (stage.kind != STEP or look.tallies.all.switching)
    late = 0
    if moving and not state.get("paused"):
        limit = timedelta(seconds=look.observed.spec.rollout.progress_deadline_seconds)
        until = parse_timestamp(state["lastProgressAt"]) + limit
        if now > until:
            late = look.tallies.all.switching if stage.kind == STEP else underway
        else:
            look.out.looks.append(until + timedelta(seconds=1))
    if failed + late <= allowed and (not late or late >= underway):
        return late
    why = f"{failed} of {look.tallies.all.online} servers failed to take it"
    if late:
        seconds = look.observed.spec.rollout.progress_deadline_seconds
        why = f"no server has {_DONE[stage.kind]} for {seconds} s, {failed + late} still have to"
        if failed + late <= allowed:
            why += " and maxUnavailable leaves no room for others"
    if allowed < failed + late <= look.failure_budget:
        why += ", and no server has done so"
    end(
        look,
        "RolledBack",
        reasons.FAILURE_BUDGET_EXCEEDED,
        f"{why}, failureBudget is {look.observed.spec.rollout.failure_budget}{_of(look, stage)}",
    )
    return 0


def example(look: RolloutContext, stage: Stage) -> str:
    """One of the servers that could not do what the stage wants, and why; empty without any."""
    fleet, key = look.observed.fleet, look.candidate.key
    if stage.kind != STEP:
        field = "staged" if stage.kind == PRESTAGE else "shadow"
        groups = [g for g in fleet.groups if g.online and getattr(g, field) == (key, "failed")]
        for member in first(fleet, groups, 1):
            server = look.observed.server(look.observed.server_name(member)) or {}
            why = (meta.status(server).get(field) or {}).get("failure")
            return f"{member.name}: {why or 'no reason given'}"
        return ""
    for name in sorted(fleet.troubled):
        member = fleet.members[name]
        group = member.group
        if group and group.seen and group.assigned == key:
            held = name_in(member.server.loaded) if member.server else ""
            kept = f", it goes on with {held}" if held and group.ready else ""
            return f"{name}{kept}: {fleet.troubled[name][1]}"
    return ""


def _of(look: RolloutContext, stage: Stage) -> str:
    found = example(look, stage)
    return f"; {found}" if found else ""


def end(look: RolloutContext, outcome: str, reason: str, message: str) -> None:
    """End the rollout; `outcome` is RolledBack or Aborted."""
    out = look.out
    out.moves = Moves()
    if look.candidate.key == look.stable.key:
        # Only the pods' template differs: there is no version to go back to.
        out.stuck, out.reason = True, reason
        out.message = f"new server pods: {message}; change the spec of its server pods to go on"
        if reason == reasons.ABORTED:
            user = look.actions.users.get("abort")
            out.state["paused"] = halt(out.state, "Requested", look.now, user)
        return
    out.outcome, out.reason = outcome, reason
    candidate, stable = titles(look.candidate, look.stable)
    out.message = f"{candidate} was rolled back to {stable}: {message}"
