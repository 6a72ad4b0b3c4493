"""Whether a candidate takes whole nodes down.

A server that cannot be reached counts neither as updated nor as failed, and another takes its place
in maxUnavailable. That is right for nodes that go for reasons of their own; where the candidate is
the reason, it would lead it through the whole fleet.
"""

from __future__ import annotations

from modelyard.core.deployment.context import RolloutContext
from modelyard.core.fleet.member import Group

LEAST = 3
"""So many nodes do not go by chance at the same time as the version comes to them."""
MANY_TIMES = 2
"""How much more often than the others the servers that were told have to go."""


def node_loss(look: RolloutContext) -> str:
    """Says how many servers cannot be reached since they were told of the candidate, where that is
    more than those that are left, and far more often than among the others; else empty. Somebody
    who promotes the rollout wants it to go on all the same.
    """
    state, tallies = look.out.state, look.tallies
    if not look.observed.edge or state.get("promoted") or state.get("promoteFull"):
        return ""
    dark = [g for g in look.observed.fleet.groups if not g.online and g not in tallies.lost]
    told = [group for group in dark if _told(look, group)]
    left = tallies.all.on
    enough = max(LEAST, left + 1)
    if sum(len(look.observed.fleet.groups[group]) for group in told) < enough:
        return ""  # However long they have been away.
    gone = _gone(look, told)
    if gone < enough:
        return ""
    others = _gone(look, [group for group in dark if group not in told])
    rest = others + tallies.all.online - left
    if rest and gone / (gone + left) < MANY_TIMES * others / rest:
        return ""
    return (
        f"{gone} of {gone + left} servers that were told of {look.candidate.name} cannot be "
        f"reached since, and {others} of the {rest} others: none is told any more until some are "
        f"back; abort, or promote to go on all the same"
    )


def _told(look: RolloutContext, group: Group) -> bool:
    """Whether a group's servers have the candidate in their spec, and pods of its template if it
    brings new ones."""
    begun = look.begun
    return look.tallies.has(group) and not (begun and begun.pods and not group.template)


def _gone(look: RolloutContext, groups: list[Group]) -> int:
    """How many servers of some groups could still be reached when the rollout began."""
    if look.begun is None:
        return 0
    return sum(look.observed.fleet.lost(group, look.begun.since) for group in groups)
