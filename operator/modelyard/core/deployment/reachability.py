"""Parts of a rollout that wait for servers: absence of evidence is never success.

With no server that can be reached, in an unknown or dark pool, or with nobody to shadow, nothing
says how the candidate does. The rollout stays open, stable stays stable, and the status says which
servers are missing and what to do. It goes on by itself once they are there.
"""

from __future__ import annotations

from modelyard.api.deployment import DeploymentPhase
from modelyard.api.rolloutstages import STEP
from modelyard.api.rolloutstatus import RolloutState
from modelyard.core import meta
from modelyard.core.deployment import activation, reasons
from modelyard.core.deployment.context import RolloutContext, StepResult

_SHOWN = 8
"""Names of pools in a message."""


def check_reachability(context: RolloutContext, state: RolloutState) -> StepResult:
    """No server that the candidate fits can be reached: wait."""
    if context.tallies.all.online:
        return StepResult(state)
    # Whoever comes back has all the time of progressDeadlineSeconds.
    state = state.but(target=0, done=0)
    reason, text, phase = _nobody(context)
    return context.waiting(state, text, reason, phase)


def _nobody(context: RolloutContext) -> tuple[str, str, DeploymentPhase]:
    """Why there is no server, for programs and for people."""
    observed, name = context.observed, context.candidate.name
    counts, goes_on = context.tallies.all, f"the rollout of {context.candidate.name} goes on when"
    progressing, suspended = DeploymentPhase.PROGRESSING, DeploymentPhase.SUSPENDED
    none = reasons.NO_SERVER_REACHABLE
    if activation.asleep(observed):
        return none, f"no request lately: {goes_on} one wakes a server", suspended
    if not observed.edge and not observed.replicas:
        return none, f"scaled to zero: {goes_on} a server is there", suspended
    if counts.unfit:
        text = (
            f"no artifact of {name} fits any of the {counts.unfit} servers that can be reached: "
            f"add an export for their GPU type, or abort"
        )
        return reasons.NO_FITTING_ARTIFACT, text, DeploymentPhase.PAUSED
    if counts.offline:
        text = f"none of {counts.offline} servers can be reached: {goes_on} one is back"
        return none, text, progressing
    if observed.edge:
        text = f"no node matches spec.target.edge.nodeSelector: {goes_on} one does"
        return none, text, progressing
    text = f"none of {observed.replicas} server pods is there yet: {goes_on} one is"
    return none, text, progressing


def check_pool(context: RolloutContext, state: RolloutState) -> StepResult:
    """A step of a pool that is unknown or dark is not passed: it waits. Somebody who promotes wants
    it to go on without that pool."""
    stage = context.stage(state)
    if stage.kind != STEP or stage.pool is None or state.promoted or state.promote_full:
        return StepResult(state)
    pool = context.tallies.pools.get(stage.pool)
    if pool is not None and pool.online:
        return StepResult(state)
    state = state.but(target=0, done=0)
    without = f"modelyard rollout promote {meta.name(context.observed.obj)} goes on without it"
    if pool is None or not pool.servers:
        text = f"{stage.title}: no server is in this pool; {_known(context)}"
        text += f" Correct spec.rollout.steps or the labels of nodes, or {without}"
        return context.waiting(state, text, reasons.POOL_UNKNOWN)
    if pool.unfit:
        text = f"{stage.title}: no artifact of {context.candidate.name} fits its servers"
        text += f": add an export for their GPU type, or {without}"
        return context.waiting(state, text, reasons.NO_FITTING_ARTIFACT)
    them = "its only server" if pool.servers == 1 else f"all its {pool.servers} servers"
    text = f"{stage.title}: {them} cannot be reached; waiting for one to be back, or {without}"
    return context.waiting(state, text, reasons.POOL_UNREACHABLE)


def _known(context: RolloutContext) -> str:
    """The pools that there are."""
    edge = context.observed.spec.target.edge
    if edge is None or edge.pools is None:
        return "spec.target.edge.pools is not set, so there is none."
    names = sorted(name for name in context.tallies.pools if name)
    if not names:
        return f"no node has the label {edge.pools.label}."
    more = ", …" if len(names) > _SHOWN else ""
    return f"there are {', '.join(names[:_SHOWN])}{more} (label {edge.pools.label})."
