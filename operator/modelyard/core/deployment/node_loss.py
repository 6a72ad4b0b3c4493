"""Whether a candidate takes whole nodes down.

A server that cannot be reached counts neither as updated nor as failed, and another takes its place
in maxUnavailable. That is right for nodes that go for reasons of their own; where the candidate is
the reason, it would lead it through the whole fleet.
"""

from __future__ import annotations

from modelyard.api.rolloutstatus import RolloutState
from modelyard.core.deployment.context import RolloutContext
from modelyard.core.fleet.member import Group

LEAST = 3
"""So many nodes do not go by chance at the same time as the version comes to them."""
MANY_TIMES = 2
"""How much more often than the others the servers that were assigned it have to go."""


def node_loss(context: RolloutContext, state: RolloutState) -> str:
    """Says how many servers cannot be reached since they were assigned the candidate, where that is
    more than those that are left, and far more often than among the others; else empty. Somebody
    who promotes the rollout wants it to go on all the same.
    """
    tallies = context.tallies
    if not context.observed.edge or state.promoted or state.promote_full:
        return ""
    dark = [g for g in context.observed.fleet.groups if not g.online and g not in tallies.lost]
    assigned = [group for group in dark if _is_assigned(context, group)]
    left = tallies.all.on
    enough = max(LEAST, left + 1)
    if sum(len(context.observed.fleet.groups[group]) for group in assigned) < enough:
        return ""  # However long they have been away.
    gone = _gone(context, assigned)
    if gone < enough:
        return ""
    others = _gone(context, [group for group in dark if group not in assigned])
    rest = others + tallies.all.online - left
    if rest and gone / (gone + left) < MANY_TIMES * others / rest:
        return ""
    return (
        f"{gone} of {gone + left} servers that were assigned {context.candidate.name} cannot be "
        f"reached since, and {others} of the {rest} others: no more get it until some are back; "
        f"abort, or promote to go on all the same"
    )


def _is_assigned(context: RolloutContext, group: Group) -> bool:
    """Whether a group's servers have the candidate in their spec, and pods of its template if it
    brings new ones."""
    begun = context.begun
    return context.tallies.has(group) and not (begun and begun.pods and not group.template)


def _gone(context: RolloutContext, groups: list[Group]) -> int:
    """How many servers of some groups could still be reached when the rollout began."""
    if context.begun is None:
        return 0
    return sum(context.observed.fleet.lost(group, context.begun.since) for group in groups)
