"""Which ModelServers are written now: what each server is to serve, fetch ahead or shadow.

moving.py and selection.py say whom a rollout moves; here that becomes assignments, together with
servers that hold what nobody wants any more, and with new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from modelyard.api.rollout import Shadow
from modelyard.api.rolloutstatus import RejectedVersion
from modelyard.contract.run import OFTEN_SECONDS
from modelyard.core.deployment.monitoring import NOTHING, Wanted
from modelyard.core.deployment.moving import BATCH, Moves
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import first, pick, tally
from modelyard.core.fleet.member import Member
from modelyard.core.fleet.projections import key_of, version_in
from modelyard.core.plan import KubeObject


@dataclass(frozen=True)
class DesiredServers:
    """What a decision wants of the servers."""

    stable: Release
    candidate: Release | None
    rejected: RejectedVersion | None
    moves: Moves | None
    """The rollout's own."""
    immediate: bool = False
    """Whether somebody went back by hand: servers follow at once."""
    monitoring: Wanted = NOTHING

    def start_with(self, product: str) -> Release:
        """What a new server gets: stable, but where somebody went back by hand from it, it does not
        load that first."""
        back = self.candidate if self.immediate else None
        return back if back is not None and back.fits(product) else self.stable

    def leaves(self, key: str) -> bool:
        """Whether servers are to leave a release without waiting for each other: it was rejected,
        or somebody went back to another version."""
        if self.rejected is not None and key == key_of(self.rejected.wire()):
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
    monitoring: str | None = None
    """As text; None: what is wanted of this server anyway."""


REPORTS = 50
"""Reports a second that the API server is asked to bear of servers that have just switched."""


def rhythm(servers: int) -> int | None:
    """Seconds between reports of so many servers that switch together; None: as agents have it."""
    seconds = -(-servers // REPORTS)
    return min(seconds, 3600) if seconds > OFTEN_SECONDS else None


def assignments(observed: Observed, wishes: DesiredServers) -> list[Change]:
    """The changes to make now, at most a batch of each kind; each server at most once: the first
    part that wants one wins."""
    parts = (
        _moved(observed, wishes),
        _shadows(observed, wishes),
        _returned(observed, wishes),
        _cleared(observed, wishes),
        _renewed(observed, wishes),
        _monitoring(observed, wishes),
    )
    changes: dict[str, Change] = {}
    for part in parts:
        for change in part:
            changes.setdefault(change.member.name, change)
    return list(changes.values())


def _moved(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that the rollout's stage assigns the candidate, or lets fetch it."""
    candidate, moves = wishes.candidate, wishes.moves
    if candidate is None or moves is None:
        return
    for member in moves.assign:
        assigned = candidate.assignment(_product(observed, member))
        yield Change(member, assigned, report_seconds=rhythm(moves.together))
    for member in moves.stage:
        yield Change(
            member,
            _held(observed, wishes, member),
            staged=candidate.assignment(_product(observed, member)),
            shadow=_written(member, "shadow"),
            report_seconds=_written(member, "reportSeconds"),
        )


def _shadows(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that are to shadow the candidate."""
    candidate, moves = wishes.candidate, wishes.moves
    if candidate is None or moves is None:
        return
    shadow = observed.spec.rollout.shadow or Shadow()
    for member in moves.shadow:
        version = candidate.assignment(_product(observed, member))
        yield Change(
            member,
            _held(observed, wishes, member),
            shadow=_shadowing(version, shadow),
            report_seconds=rhythm(len(moves.shadow)),
        )


def _returned(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that go back to stable, or are new."""
    seconds = rhythm(len(observed.fleet.members))
    for member in _strays(observed, wishes):
        product = _product(observed, member)
        release = wishes.start_with(product) if member.server is None else wishes.stable
        yield Change(member, release.assignment(product), report_seconds=seconds)


def _cleared(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that stop fetching or shadowing."""
    for member in _leftovers(observed, wishes):
        held, seconds = _held(observed, wishes, member), _written(member, "reportSeconds")
        yield Change(member, held, report_seconds=seconds)


def _renewed(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that are new, or in another pod or pool."""
    for name in sorted(observed.fleet.stale)[: 2 * BATCH]:
        member = observed.fleet.members[name]
        product = _product(observed, member)
        if member.server is None and not wishes.start_with(product).fits(product):
            continue  # No artifact fits the node: it is counted, and left alone.
        yield _kept(observed, wishes, member)


def monitoring_due(observed: Observed, wishes: DesiredServers) -> bool:
    """Whether servers remain whose monitoring is to be written, in a later decision."""
    due = chain(wishes.monitoring.outdated(observed.fleet.monitored), _asked(observed, wishes))
    return next(iter(due), None) is not None


def _monitoring(observed: Observed, wishes: DesiredServers) -> Iterator[Change]:
    """Servers that are to monitor something else than they do. No request depends on it: no more
    are written than reports are asked for in a second, and the next decision is in a second."""
    wanted, members = wishes.monitoring, observed.fleet.members
    for name in islice(wanted.outdated(observed.fleet.monitored), REPORTS):
        yield _kept(observed, wishes, members[name], wanted.of(members[name]))
    for member in islice(_asked(observed, wishes), REPORTS):
        yield _kept(observed, wishes, member, wanted.asked)


def _asked(observed: Observed, wishes: DesiredServers) -> Iterator[Member]:
    return wishes.monitoring.missing(observed)


def _kept(
    observed: Observed, wishes: DesiredServers, member: Member, monitoring: str | None = None
) -> Change:
    """A server that goes on with all that its ModelServer says, but what is named here."""
    return Change(
        member,
        _held(observed, wishes, member),
        staged=_written(member, "staged"),
        shadow=_written(member, "shadow"),
        report_seconds=_written(member, "reportSeconds"),
        monitoring=monitoring,
    )


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
    free = [g for g in strays if not g.answers or not g.online or wishes.leaves(g.assigned)]
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


def _product(observed: Observed, member: Member) -> str:
    if not observed.edge:
        return observed.product
    return member.group.product if member.group else ""


def _written(member: Member, field: str) -> Any:
    """A field of a server's ModelServer as it is, to be written again."""
    return member.server.spec_field(field) if member.server is not None else None


def _held(observed: Observed, wishes: DesiredServers, member: Member) -> KubeObject:
    """What a server is to go on holding: its assignment, else what new ones get."""
    assigned: KubeObject | None = _written(member, "assigned")
    product = _product(observed, member)
    return assigned or wishes.start_with(product).assignment(product)


def _shadowing(version: KubeObject, wanted: Shadow) -> KubeObject:
    """An api.modelserver.Shadowing."""
    return {"version": version, "share": wanted.share, "busyPercent": wanted.busy_percent}
