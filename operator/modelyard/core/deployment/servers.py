"""What each server is told that is to be told anything now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.rollout import Shadow
from modelyard.contract.run import OFTEN_SECONDS
from modelyard.core.deployment.moving import BATCH, Moves
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Tallies, first, pick, tally
from modelyard.core.fleet.member import Group, Member
from modelyard.core.fleet.projections import key_of, version_in
from modelyard.core.plan import KubeObject


@dataclass(frozen=True)
class DesiredServers:
    """What a decision wants of the servers."""

    stable: Release
    candidate: Release | None
    rejected: Mapping[str, Any] | None
    moves: Moves | None
    """The rollout's own."""
    immediate: bool = False
    """Whether somebody went back by hand: servers follow at once."""

    def leaves(self, key: str) -> bool:
        """Whether servers are to leave a release without waiting for each other: it was rejected,
        or somebody went back to another version."""
        if self.rejected is not None and key == key_of(self.rejected):
            return True
        back = version_in((self.candidate or self.stable).key)
        return self.immediate and version_in(key) != back


@dataclass(frozen=True)
class Change:
    """The spec that a server's ModelServer is to have."""

    member: Member
    assigned: KubeObject
    staged: KubeObject | None = None
    shadow: KubeObject | None = None
    report_seconds: int | None = None


REPORTS = 50
"""Reports a second that the API server is asked to bear of servers that have just switched."""


def rhythm(servers: int) -> int | None:
    """Seconds between reports of so many servers that switch together; None: as agents have it."""
    seconds = -(-servers // REPORTS)
    return min(seconds, 3600) if seconds > OFTEN_SECONDS else None


def assignments(observed: Observed, wishes: DesiredServers, tallies: Tallies) -> list[Change]:
    """The changes to make now, at most a batch of each kind; each server at most once."""
    changes: dict[str, Change] = {}

    def change(member: Member, **fields: Any) -> None:
        if member.name not in changes:
            changes[member.name] = Change(member, **fields)

    candidate, moves = wishes.candidate, wishes.moves
    if candidate is not None and moves is not None:
        for member in moves.assign:
            change(
                member,
                assigned=candidate.assignment(_product(observed, member)),
                report_seconds=rhythm(moves.together),
            )
        for member in moves.stage:
            product = _product(observed, member)
            change(
                member,
                assigned=_held(observed, wishes, member),
                staged=candidate.assignment(product),
                shadow=_shadow(observed, member),
                report_seconds=_rhythm(observed, member),
            )
        shadow = observed.spec.rollout.shadow
        for member in moves.shadow:
            version = candidate.assignment(_product(observed, member))
            change(
                member,
                assigned=_held(observed, wishes, member),
                shadow=_shadowing(version, shadow or Shadow()),
                report_seconds=rhythm(len(moves.shadow)),
            )
    for member in _strays(observed, wishes):
        change(
            member,
            assigned=wishes.stable.assignment(_product(observed, member)),
            report_seconds=rhythm(len(observed.fleet.members)),
        )
    for member in _leftovers(observed, wishes):
        change(
            member,
            assigned=_held(observed, wishes, member),
            report_seconds=_rhythm(observed, member),
        )
    for name in sorted(observed.fleet.stale)[: 2 * BATCH]:
        member = observed.fleet.members[name]
        if member.server is None and not wishes.stable.fits(_product(observed, member)):
            continue  # No artifact fits the node: it is counted, and left alone.
        change(
            member,
            assigned=_held(observed, wishes, member),
            staged=_spec(observed, member).get("staged"),
            shadow=_shadow(observed, member),
            report_seconds=_rhythm(observed, member),
        )
    return list(changes.values())


def _strays(observed: Observed, wishes: DesiredServers) -> Iterator[Member]:
    """Servers that hold neither stable nor the candidate: back to stable.

    At once where a version was rolled back, also by hand, and where a server cannot be reached or
    holds nothing (it follows when it can); within maxUnavailable where a rollout was only
    superseded.
    """
    stable, fleet = wishes.stable, observed.fleet
    good = {stable.key, wishes.candidate.key if wishes.candidate else stable.key}
    strays = [g for g in fleet.groups if g.assigned not in good and stable.fits(g.product)]
    if not strays:
        return
    free = [g for g in strays if not _idle(g) or not g.online or wishes.leaves(g.assigned)]
    at_once = first(fleet, free, BATCH)
    yield from at_once
    rest = set(strays) - set(free)
    if rest:
        counted = tally(fleet, stable)
        yield from pick(
            fleet,
            counted,
            want=counted.all.online,
            max_unavailable=observed.spec.rollout.max_unavailable,
            by_pool=observed.by_pool,
            only=rest.__contains__,
            limit=BATCH - len(at_once),
            besides=wishes.moves.assign if wishes.moves else (),
        )


def _leftovers(observed: Observed, wishes: DesiredServers) -> list[Member]:
    """Servers that still stage or shadow what no rollout wants any more."""
    fleet = observed.fleet
    staging = wishes.candidate.key if wishes.candidate else ""
    # A stage that shadows no longer asks for it: see Moves.
    stage = wishes.moves.shadowing if wishes.moves else False
    shadowing = staging if stage else ""
    groups = [
        g
        for g in fleet.groups
        if g.staged[0] not in ("", staging) or g.shadow[0] not in ("", shadowing)
    ]
    return first(fleet, groups, BATCH)


def _idle(group: Group) -> bool:
    return group.state == "holds" and group.ready


def _product(observed: Observed, member: Member) -> str:
    if not observed.edge:
        return observed.product
    return member.group.product if member.group else ""


def _spec(observed: Observed, member: Member) -> Mapping[str, Any]:
    server = observed.server(observed.server_name(member))
    return server["spec"] if server else {}


def _held(observed: Observed, wishes: DesiredServers, member: Member) -> KubeObject:
    """What a server is to go on holding: its assignment, else stable."""
    assigned = _spec(observed, member).get("assigned")
    return assigned or wishes.stable.assignment(_product(observed, member))


def _shadowing(version: KubeObject, wanted: Shadow) -> KubeObject:
    """An api.modelserver.Shadowing."""
    return {"version": version, "share": wanted.share, "busyPercent": wanted.busy_percent}


def _shadow(observed: Observed, member: Member) -> KubeObject | None:
    found: KubeObject | None = _spec(observed, member).get("shadow")
    return found


def _rhythm(observed: Observed, member: Member) -> int | None:
    found: int | None = _spec(observed, member).get("reportSeconds")
    return found
