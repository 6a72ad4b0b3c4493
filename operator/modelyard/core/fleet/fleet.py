"""The servers of one Deployment, in groups of the same state, each in a stable order.

Decisions look at groups (a few dozen), never at thousands of servers; a change of one server costs
a step in a sorted list. The order depends on a hash with the Deployment's UID, so that several
Deployments on the same nodes do not all begin with the same one, and on the sites, so that a wave
spreads. What is kept of an object: projections.py; how a member is grouped: grouping.py; who
feeds it: fleets.py. Time enters through `sweep` alone.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from modelyard.core.fleet.arrival import arrival
from modelyard.core.fleet.driftcount import NOTHING, DriftCount
from modelyard.core.fleet.figures import Sums, Total
from modelyard.core.fleet.grouping import group_of, is_stale, place_of, site_of, trouble_of
from modelyard.core.fleet.member import FleetConfig, Group, Member, Place
from modelyard.core.fleet.projections import Ended, NodeFact, PodFact, ServerFact, Side
from modelyard.core.podstate import Trouble

K = TypeVar("K")


class Fleet:
    """All servers of one Deployment."""

    def __init__(self, salt: str) -> None:
        """`salt` makes the order differ from other Deployments': it is the owner's UID."""
        self._salt = salt
        self.config = FleetConfig()
        self.members: dict[str, Member] = {}
        self.groups: dict[Group, list[Place]] = {}
        self.sites: Counter[str] = Counter()
        """Online servers by site."""
        self.on: Counter[tuple[str, str]] = Counter()
        """Online servers by site and assigned release key."""
        self.stale: set[str] = set()
        """Members whose ModelServer is missing or names another pod, node or pool."""
        self.orphans: set[str] = set()
        """Members that are only a ModelServer whose pod (cluster) or node (edge) is gone."""
        self.troubled: dict[str, tuple[str, str]] = {}
        """Reason and words of members that cannot do what they should."""
        self.ended: dict[str, Ended] = {}
        """Pods that failed and are still there, by UID."""
        self.monitored: dict[str, set[str]] = {}
        """Members by what their ModelServers say that they monitor (ServerFact.monitoring)."""
        self.drift = DriftCount()
        """What online servers report of monitoring."""
        self._totals: dict[tuple[str, bool], Total] = {}
        self._shadows: dict[str, Total] = {}
        self._silence: list[tuple[float, str]] = []
        """Heap of (when the member counts as silent, or earlier, name)."""
        self._queued: set[str] = set()

    # Changes. Each returns whether a decision could come out otherwise.

    def configure(self, config: FleetConfig) -> bool:
        """Group by another spec; visits every server if it is another one."""
        if config == self.config:
            return False
        self.config = config
        self._silence.clear()
        self._queued.clear()
        for member in list(self.members.values()):
            member.silent = False  # The next sweep finds out, by the new limits.
            self._listen(member, 0.0)
            self._settle(member)
        return True

    def set_pod(self, name: str, pod: PodFact | None) -> bool:
        """A member's pod is new, another, changed or gone."""
        member = self._member(name)
        relabelled = (member.pod and member.pod.serves) != (pod and pod.serves)
        before, member.pod = member.heard, pod
        self._listen(member, before)
        return self._settle(member) or relabelled

    def set_server(self, name: str, server: ServerFact | None, now: float) -> bool:
        """A member's ModelServer is new, changed or gone; `now` is in seconds since the epoch."""
        member = self._member(name)
        self._count(member, -1)
        before = member.heard
        member.arrived = arrival(member.server, member.arrived, server, now)
        drift = member.server.drift if member.server is not None else NOTHING
        member.server = server
        self._listen(member, before)
        self._count(member, 1)
        new = server is not None and server.drift.shown != drift.shown
        return self._settle(member) or new

    def set_node(self, name: str, node: NodeFact | None) -> bool:
        """The node of a member has changed or is gone."""
        member = self.members.get(name)
        if member is None:
            return False
        member.node = node
        return self._settle(member)

    def set_ended(self, uid: str, pod: Ended | None) -> bool:
        """A pod has failed, or is gone."""
        before = self.ended.pop(uid, None)
        if pod is not None:
            self.ended[uid] = pod
        return before != pod

    def sweep(self, now: float) -> None:
        """Find servers that have fallen silent, or have not started in time, by `now` (seconds
        since the epoch). Costs nothing for servers that report. The reconciler calls it before a
        Deployment is observed: decisions must not change what they share."""
        while self._silence and self._silence[0][0] <= now:
            _, name = heapq.heappop(self._silence)
            self._queued.discard(name)
            member = self.members.get(name)
            if member is None or member.server is None:
                continue
            if self._deadline(member) > now:
                self._queue(member)
            elif not member.silent:
                member.silent = True
                self._settle(member)

    # Reading.

    @property
    def next_silence(self) -> float | None:
        """When the next server may fall silent (seconds since the epoch); None if there is nothing
        to wait for."""
        return self._silence[0][0] if self._silence else None

    def count(self, *, online: bool | None = None, **wanted: object) -> int:
        """Servers in all groups with these attributes."""
        if online is not None:
            wanted["online"] = online
        return sum(
            len(places)
            for group, places in self.groups.items()
            if all(getattr(group, name) == value for name, value in wanted.items())
        )

    def total(self, key: str) -> Total | None:
        """What online servers that hold a release report together."""
        return self._totals.get((key, True))

    def shadowed(self, key: str) -> Total | None:
        """What servers that shadow a release report together."""
        return self._shadows.get(key)

    def lost(self, group: Group, since: float) -> int:
        """Servers of a group whose agents were not silent yet at `since` (seconds since the
        epoch)."""
        last = since - self.config.offline_after
        members = (self.members[name] for _, _, name in self.groups[group])
        return sum(member.started and member.arrived >= last for member in members)

    def failing(self) -> tuple[int, Trouble] | None:
        """How many pods in a row failed until now, and why the last one did; None if one that was
        made after them all answers. Visits every server, but only while there are such pods."""
        if not self.ended:
            return None
        made = (m.pod.made for m in self.members.values() if m.pod is not None and m.pod.ready)
        good = max(made, default=0.0)
        found = [one for one in self.ended.values() if one.made > good]
        return (len(found), max(found).fate) if found else None

    def ordered(self, groups: Iterable[Group]) -> Iterator[Member]:
        """The members of several groups in their common order; lazy."""
        places = [self.groups[group] for group in groups]
        for _, _, name in heapq.merge(*places):
            yield self.members[name]

    # Keeping.

    def _listen(self, member: Member, before: float) -> None:
        """Wait for a member to fall silent; `before` is when it was last heard of so far."""
        if member.server is None:
            return
        heard = member.heard
        if heard > before:
            member.silent = False
        # One that waits already is looked at again then; sooner where its new pod is gone.
        if not member.silent and (heard < before or member.name not in self._queued):
            self._queue(member)

    def _queue(self, member: Member) -> None:
        deadline = self._deadline(member)
        if deadline < math.inf:
            self._queued.add(member.name)
            heapq.heappush(self._silence, (deadline, member.name))

    def _deadline(self, member: Member) -> float:
        """When a member counts as silent if nothing is heard of it until then."""
        config = self.config
        if not member.started:
            return member.heard + config.start_within
        return member.heard + config.offline_after if config.edge else math.inf

    def _member(self, name: str) -> Member:
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = Member(name)
        return member

    def _settle(self, member: Member) -> bool:
        """Put a member into the group where it belongs now."""
        before = self._shown(member)
        self._count(member, -1)
        gone = member.pod is None and member.server is None
        group = None if gone else group_of(self.config, member)
        site = site_of(self.config, member)
        if (group, site) != (member.group, member.site):
            self._leave(member)
            member.group, member.site = group, site
            self._enter(member)
        self.stale.discard(member.name)
        self.orphans.discard(member.name)
        self.troubled.pop(member.name, None)
        if gone:
            del self.members[member.name]
            return True
        if group is None:
            self.orphans.add(member.name)
        else:
            if is_stale(member):
                self.stale.add(member.name)
            trouble = trouble_of(self.config, member)
            if trouble:
                self.troubled[member.name] = trouble
        self._count(member, 1)
        return before != self._shown(member)

    def _shown(self, member: Member) -> tuple[object, ...]:
        """All of a member that decisions go by, but its figures."""
        name = member.name
        trouble = self.troubled.get(name)
        return member.group, name in self.stale, name in self.orphans, trouble

    def _enter(self, member: Member) -> None:
        group = member.group
        if group is None:
            return
        member.place = place_of(self.config, self._salt, member, group)
        insort(self.groups.setdefault(group, []), member.place)
        if group.online:
            self.sites[member.site] += 1
            self.on[member.site, group.assigned] += 1

    def _leave(self, member: Member) -> None:
        group = member.group
        if group is None:
            return
        places = self.groups[group]
        # Where it was put: the fleet may have been configured otherwise since.
        del places[bisect_left(places, member.place)]
        if not places:
            del self.groups[group]
        if group.online:
            _take(self.sites, member.site)
            _take(self.on, (member.site, group.assigned))

    def _count(self, member: Member, sign: int) -> None:
        """Add what a member reports to the totals of its group, or take it back."""
        server, group = member.server, member.group
        if group is None:
            return
        if group.online:
            change = self.drift.add if sign > 0 else self.drift.remove
            change(member.name, group.pool, server.drift if server is not None else NOTHING)
        if server is None:
            return
        names = self.monitored.setdefault(server.monitoring, set())
        if sign > 0:
            names.add(member.name)
        else:
            names.discard(member.name)
            if not names:
                del self.monitored[server.monitoring]
        if server.figures is not None:
            _add(self._totals, (server.assigned, group.online), server.figures, sign)
        if server.shadow_figures is not None and server.shadow[1] is Side.RUNNING:
            _add(self._shadows, server.shadow[0], server.shadow_figures, sign)


def _take(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _add(totals: dict[K, Total], key: K, sums: Sums, sign: int) -> None:
    total = totals.get(key)
    if total is None:
        total = totals[key] = Total()
    total.add(sums, sign)
    if not total.servers:
        del totals[key]
