"""The servers whose drift is judged together: all of a Deployment, and those of each pool.

How many must drift at once follows from how many could show it, from how long an alarm is held and
from how often one is false (core/fleet/driftnull.py). The expected run length is the Deployment's:
it is divided among its pools and all servers together, so more pools mean no more false alarms.

A pool may be too small to show drift at that rate by itself: its servers then count among all only.
All servers together can always show it: of very few, all must drift, and false alarms are as
frequent as those of one server. Who acts on this: episodes.py, drifting.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from modelyard.api.monitoring import Drift, long_duration_seconds
from modelyard.api.monitoringstatus import DriftCounts, MonitoringStatus, PoolDrift
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.servers import REPORTS
from modelyard.core.fleet.driftcount import Tally
from modelyard.core.fleet.driftnull import expected, false_alarm_rate

MAX_POOLS = 50
"""Pools that are judged by themselves."""
HEARD_SECONDS = 60
"""Seconds that a server has to report after it was told that somebody dealt with drift."""
SHOWN_POOLS = 10
"""Pools that are kept in the status: objects stay under 20 kB."""


@dataclass(frozen=True)
class Rule:
    """How many servers must drift at once; times in seconds."""

    hold: float
    run_length: float
    """Of one server."""
    fleet_run_length: float
    """Of these servers together."""
    min_share: float

    @property
    def sound(self) -> bool:
        """Whether alarms end sooner than the next false one comes."""
        return self.hold < self.run_length

    def needed(self, servers: int) -> int:
        """The threshold for a number of servers; more than these if so few cannot show drift."""
        return _needed(self, servers)


@lru_cache(maxsize=8192)
def _needed(rule: Rule, servers: int) -> int:
    """As driftnull.threshold has it, but bounded and found by bisection: above its mean, the rate
    of false alarms only falls."""
    few = math.floor(expected(servers, rule.hold, rule.run_length)) + 1
    low, high = few, max(few, servers + 1)
    while low < high:
        middle = (low + high) // 2
        rate = false_alarm_rate(middle, servers, rule.hold, rule.run_length)
        low, high = (low, middle) if rate <= 1 / rule.fleet_run_length else (middle + 1, high)
    return max(low, math.ceil(rule.min_share * servers), 1)


@dataclass(frozen=True)
class Area:
    """Servers that are judged together."""

    pool: str | None
    """None: all servers."""
    tally: Tally
    """Shared with the cache: only read."""
    counts: DriftCounts
    judged: bool = True
    """Whether so many servers can show drift by themselves, once all have a baseline."""

    @property
    def known(self) -> bool:
        """Whether at least half of the servers that can be reached have a baseline."""
        return 0 < self.counts.online <= 2 * self.counts.baseline

    @property
    def over(self) -> bool:
        """Whether enough servers drift."""
        return self.counts.above_since is not None

    def enough(self, hold_for: timedelta, moment: datetime) -> bool:
        """Whether enough servers have drifted for long enough."""
        since = self.counts.above_since
        return since is not None and moment - since >= hold_for


@dataclass(frozen=True)
class Areas:
    """All that is judged, at one moment."""

    all: Area
    pools: tuple[Area, ...]
    """Empty where no pools are declared."""
    rule: Rule
    hold_for: timedelta
    """How long enough servers must drift."""
    moment: datetime

    def __iter__(self) -> Iterator[Area]:
        return iter((self.all, *self.pools))

    @property
    def over(self) -> list[Area]:
        """Where enough servers drift now."""
        return [area for area in self if area.over]

    @property
    def confirmed(self) -> list[Area]:
        """Where enough servers have drifted for long enough."""
        return [area for area in self if area.enough(self.hold_for, self.moment)]

    @property
    def unknown(self) -> list[Area]:
        """Where too few servers have a baseline to say anything."""
        return [area for area in self if area.judged and not area.known]

    def evidence(self, pools: tuple[str, ...]) -> bool:
        """Whether it can be said that drift of these pools, or of all servers, is over."""
        known = {area.pool for area in self if area.known}
        return None in known and all(pool in known for pool in pools)


def areas_of(
    observed: Observed, drift: Drift, before: MonitoringStatus, *, restart: bool, moment: datetime
) -> Areas:
    """Counts by area. `restart` forgets since when servers drift: somebody has just dealt with it,
    and what servers say counts again once all have been told and could report."""
    found, by_pool = observed.fleet.drift, observed.by_pool
    names = _pools(observed) if by_pool else []
    rule = _rule(drift, parts=1 + len(names))
    since = {pool.name: pool.above_since for pool in before.pools or ()}
    told = moment + timedelta(seconds=HEARD_SECONDS + len(observed.fleet.members) // REPORTS)

    def area(pool: str | None, tally: Tally, above: datetime | None) -> Area:
        needed = rule.needed(tally.baseline)
        needed = min(needed, max(tally.baseline, 1)) if pool is None else needed
        counts = DriftCounts(
            online=tally.online,
            baseline=tally.baseline,
            drifting=tally.drifting,
            threshold=needed,
        )
        judged = pool is None or rule.needed(tally.online) <= tally.online
        made = Area(pool, tally, counts, judged)
        if rule.sound and made.known and tally.drifting >= needed:
            begun = told if restart else above or moment
            return Area(pool, tally, counts.but(above_since=begun), judged)
        return made

    return Areas(
        all=area(None, found.all, before.drift.above_since if before.drift else None),
        pools=tuple(area(name, found.pools[name], since.get(name)) for name in names),
        rule=rule,
        hold_for=timedelta(seconds=long_duration_seconds(drift.fleet.hold_for)),
        moment=moment,
    )


def pool_counts(areas: Areas) -> tuple[PoolDrift, ...] | None:
    """The pools that the status has: those where servers drift, before all where enough do."""
    latest = areas.moment
    found = [area for area in areas.pools if area.counts.drifting]
    found.sort(key=lambda a: (a.counts.above_since or latest, not a.over, -a.counts.drifting))
    pools = [PoolDrift(name=a.pool or "", **a.counts.model_dump()) for a in found[:SHOWN_POOLS]]
    return tuple(pools) or None


def _pools(observed: Observed) -> list[str]:
    """Pools with servers that can be reached, in the order in which they are declared."""
    edge = observed.spec.target.edge
    declared = edge.pools.values if edge is not None and edge.pools is not None else []
    rank = {name: index for index, name in enumerate(declared)}
    found = observed.fleet.drift.pools
    return sorted(found, key=lambda name: (rank.get(name, len(rank)), name))[:MAX_POOLS]


def _rule(drift: Drift, *, parts: int) -> Rule:
    return Rule(
        hold=float(long_duration_seconds(drift.hold)),
        run_length=max(1.0, float(long_duration_seconds(drift.expected_run_length))),
        fleet_run_length=max(1.0, long_duration_seconds(drift.fleet.expected_run_length) * parts),
        min_share=float(drift.fleet.min_share.rstrip("%")) / 100,
    )
