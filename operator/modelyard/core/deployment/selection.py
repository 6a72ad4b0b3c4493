"""Which servers come next: counts of a fleet against a release, and picks within the budgets.

Budgets round down and goals round up, so that rounding never moves more servers than somebody
asked for. Costs depend on the number of groups, not of servers: a decision about 5,000 servers
must not take longer than one about 50. What a stage wants: moving.py. The groups: core/fleet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from modelyard.core.deployment.releases import Release
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import Assigned, Group, Member


def at_most(wanted: int | str, servers: int, *, least: int = 1) -> int:
    """A budget: a number of servers, or a percentage of them rounded down; at least `least`.

    Rounded as Kubernetes rounds maxUnavailable of its Deployments: 1 % of 10 servers is none.
    """
    if isinstance(wanted, str):
        return max(least, int(wanted.rstrip("%")) * servers // 100)
    return max(least, wanted)


def at_least(wanted: int | str, servers: int) -> int:
    """A goal: a number of servers, or a percentage of them rounded up; at least 1."""
    if isinstance(wanted, str):
        return max(1, -(-int(wanted.rstrip("%")) * servers // 100))
    return max(1, wanted)


@dataclass
class Tally:
    """Servers of one pool, or of all."""

    servers: int = 0
    offline: int = 0
    """Servers that cannot be reached."""
    absent: int = 0
    """Those of them whose pods cannot start, or have not in time: no version can run there."""
    unfit: int = 0
    """Reachable servers that no artifact of the release fits."""
    online: int = 0
    """Reachable servers that the release can come to."""
    ready: int = 0
    """Reachable servers that answer."""
    on: int = 0
    """Reachable servers that are assigned the release."""
    done: int = 0
    """Those that answer with it."""
    failed: int = 0
    """Those that could not load it."""
    busy: int = 0
    """Reachable servers that do not answer, or are switching. One that could not load what it is
    assigned goes on with what it had: it takes nothing from anybody."""

    @property
    def switching(self) -> int:
        """Reachable servers on their way to the release."""
        return self.on - self.done - self.failed


@dataclass
class Tallies:
    """Counts of a fleet against a release."""

    release: Release
    pools: dict[str, Tally] = field(default_factory=dict)
    all: Tally = field(default_factory=Tally)
    lost: set[Group] = field(default_factory=set)
    """Groups with servers that are down and count all the same: see `tally`."""

    def reaches(self, group: Group) -> bool:
        """Whether a group's servers count: they can be reached, or the rollout took them down."""
        return group.online or group in self.lost

    def has(self, group: Group) -> bool:
        """Whether a group's servers are assigned the release, in pods made from its template."""
        return group.assigned == self.release.key and not self.outdated(group)

    def outdated(self, group: Group) -> bool:
        """Whether a group's pods are made from another template (edge)."""
        return bool(self.release.template) and group.template not in ("", self.release.template)


@dataclass(frozen=True)
class Begun:
    """What a rollout has done to servers that are down now."""

    since: float
    """When it began, in seconds since the epoch."""
    pods: bool = False
    """Whether it brings new pods."""


def tally(fleet: Fleet, release: Release, begun: Begun | None = None) -> Tallies:
    """Count; costs as much as there are groups, not servers.

    `begun` is the rollout of the release. A server that was there when it began and whose new pod
    does not come up has not switched: it must not pass for one that cannot be reached, or a bad
    image would go on to the next node and the next.
    """
    made = Tallies(release)
    for group, places in fleet.groups.items():
        count = len(places)
        assigned = made.has(group)
        lost = 0
        if begun and group.down and release.fits(group.product):
            # What a rolled-back version has left behind is on its way to this one.
            mine = assigned or (begun.pods and not made.outdated(group))
            lost = fleet.lost(group, begun.since) if mine else 0
            if lost:
                made.lost.add(group)
        for one in (made.pools.setdefault(group.pool, Tally()), made.all):
            one.servers += count
            if not group.online:
                one.offline += count - lost
                one.absent += count * group.absent
                one.online += lost
                one.busy += lost
                one.on += lost * assigned
                continue
            one.ready += count * group.ready
            answers = group.answers
            if not release.fits(group.product):
                one.unfit += count
                continue
            one.online += count
            if not group.ready or group.state is Assigned.SWITCHING:
                one.busy += count
            if assigned:
                one.on += count
                one.done += count * answers
                one.failed += count * (group.state is Assigned.FAILED)
    return made


def pick(
    fleet: Fleet,
    tallies: Tallies,
    *,
    want: int,
    max_unavailable: int | str,
    by_pool: bool,
    only: Callable[[Group], bool] = lambda _: True,
    limit: int = 500,
    besides: Collection[Member] = (),
) -> list[Member]:
    """Servers to update next, until `want` of all that count are assigned the release.

    Within maxUnavailable, of each pool if `by_pool`. A server counts against it while it switches
    or does not answer; those that do not answer anyway go first, since they lose nothing. Sites
    get their share one server at a time as long as there is a choice. `besides` switch at the same
    time for another reason.
    """
    need = min(want - tallies.all.on, limit)
    if need <= 0:
        return []
    groups = [
        group
        for group in fleet.groups
        if tallies.reaches(group)
        and not tallies.has(group)
        and tallies.release.fits(group.product)
        and only(group)
    ]
    slots = _Slots(tallies, max_unavailable, by_pool=by_pool)
    for member in besides:
        slots.take(member)
    others = {member.name for member in besides}
    candidates = (m for m in fleet.ordered(slots.open(groups)) if m.name not in others)
    share = want / max(1, tallies.all.online)
    return _spread(fleet, candidates, slots, need=need, key=tallies.release.key, share=share)


def _spread(
    fleet: Fleet,
    candidates: Iterable[Member],
    slots: _Slots,
    *,
    need: int,
    key: str,
    share: float,
) -> list[Member]:
    """At most `need` candidates in their order, for as long as there are slots; those of sites that
    have their share of the release `key` already come last."""
    taken: Counter[str] = Counter()
    chosen: list[Member] = []
    passed: list[Member] = []
    for member in candidates:
        if len(chosen) == need or slots.closed(member):
            return chosen
        site = member.site
        if fleet.on[site, key] + taken[site] >= math.ceil(share * fleet.sites[site]):
            passed.append(member)
        elif slots.take(member):
            chosen.append(member)
            taken[site] += 1
    for member in passed:
        if len(chosen) == need or slots.closed(member):
            break
        if slots.take(member):
            chosen.append(member)
    return chosen


class _Slots:
    """How many more servers may switch."""

    def __init__(self, tallies: Tallies, max_unavailable: int | str, *, by_pool: bool) -> None:
        self._by_pool = by_pool
        counted = tallies.pools if by_pool else {"": tallies.all}
        self._budget = {p: at_most(max_unavailable, t.online) for p, t in counted.items()}
        self._busy = {p: t.busy for p, t in counted.items()}
        self._switching = {p: t.switching for p, t in counted.items()}

    def open(self, groups: Iterable[Group]) -> list[Group]:
        """Groups of pools that have free slots."""
        return [g for g in groups if self._switching[self._pool(g.pool)] < self._most(g.pool)]

    def closed(self, member: Member) -> bool:
        """Whether no pool has a slot for a server like this one: one that answers, or not."""
        return all(
            self._switching[pool] >= most or (_settled(member) and self._busy[pool] >= most)
            for pool, most in self._budget.items()
        )

    def take(self, member: Member) -> bool:
        """Take a slot for a server; False if none is free."""
        group = member.group
        pool = self._pool(group.pool if group else "")
        settled = _settled(member)
        most = self._budget[pool]
        if self._switching[pool] >= most or (settled and self._busy[pool] >= most):
            return False
        self._switching[pool] += 1
        self._busy[pool] += settled
        return True

    def _pool(self, pool: str) -> str:
        return pool if self._by_pool else ""

    def _most(self, pool: str) -> int:
        return self._budget[self._pool(pool)]


def _settled(member: Member) -> bool:
    """Whether a server answers as it should, so that switching it may cost something."""
    group = member.group
    return group is not None and group.state is not Assigned.SWITCHING and group.ready


def first(fleet: Fleet, groups: Collection[Group], count: int) -> list[Member]:
    """The first members of some groups."""
    chosen: list[Member] = []
    if count <= 0:
        return chosen
    for member in fleet.ordered(groups):
        chosen.append(member)
        if len(chosen) == count:
            break
    return chosen
