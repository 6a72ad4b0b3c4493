"""Episodes: drift of a Deployment, from its first alarm to its end, each reported once.

    none ──enough servers have drifted for `for`──▶ open ──too few have drifted for `for`──▶ ended
                                                     │                          (Subsided)
                                                     └──somebody accepts or resets──▶ ended

An episode ends only by evidence: while its servers cannot be reached, or take new baselines after a
rollout, it stays open. What is said of it: drifting.py; how many are enough: driftareas.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.monitoringstatus import (
    Episode,
    EpisodeOutcome,
    EpisodeRecord,
    MonitoringStatus,
)
from modelyard.contract import attribution
from modelyard.contract.statustext import parse_timestamp, timestamp
from modelyard.core.deployment.driftareas import SHOWN_POOLS, Area, Areas
from modelyard.core.fleet.driftcount import DriftCount
from modelyard.core.plan import Event

MAX_EPISODES = 5
STEADY = 0.5
"""Standard deviations that the size may move without being written again."""
_ENDS = {
    EpisodeOutcome.SUBSIDED: "too few servers drift",
    EpisodeOutcome.ACCEPTED: "what the servers see was accepted as the new normal",
    EpisodeOutcome.RESET: "new baselines are taken",
    EpisodeOutcome.SWITCHED_OFF: "spec.monitoring.drift was removed",
}


@dataclass(frozen=True)
class Episodes:
    """The present episode, those before it, and what happened just now."""

    episode: Episode | None
    ended: tuple[EpisodeRecord, ...]
    """The latest first."""
    began: bool = False
    events: tuple[Event, ...] = ()
    requeue_at: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, status: MonitoringStatus) -> Episodes:
        """As they were recorded."""
        return cls(status.episode, status.episodes or ())

    def end(self, outcome: EpisodeOutcome, moment: datetime, by: str | None = None) -> Episodes:
        """Ends the present episode, if there is one."""
        one = self.episode
        if one is None:
            return self
        record = EpisodeRecord(
            number=one.number,
            signal=one.signal,
            since=one.since,
            ended_at=moment,
            outcome=outcome,
            by=by,
            artifact_digest=one.artifact_digest,
            servers=one.servers,
        )
        text = (
            f"drift {one.number}, of {one.servers} servers since {timestamp(one.since)}, ended: "
            f"{_ENDS[outcome]}{attribution.by(by)}"
        )
        return replace(
            self,
            episode=None,
            ended=(record, *self.ended)[:MAX_EPISODES],
            events=(*self.events, Event("Normal", "DriftEnded", text)),
        )

    def follow(self, areas: Areas, count: DriftCount) -> Episodes:
        """Begins, continues or ends an episode by what the servers report."""
        if self.episode is None:
            return self._begin(areas, count)
        one, moment = _grown(self.episode, areas), areas.moment
        if areas.over:
            return replace(self, episode=one.but(below_since=None))
        if not areas.evidence(one.pools or ()):
            return replace(self, episode=one.but(below_since=None))
        since = one.below_since or moment
        one, due = one.but(below_since=since), since + areas.hold_for
        if moment >= due:
            return replace(self, episode=one).end(EpisodeOutcome.SUBSIDED, moment)
        return replace(self, episode=one, requeue_at=(*self.requeue_at, due))

    def _begin(self, areas: Areas, count: DriftCount) -> Episodes:
        confirmed = areas.confirmed
        if not confirmed:
            due = [a.counts.above_since + areas.hold_for for a in areas if a.counts.above_since]
            return replace(self, requeue_at=(*self.requeue_at, *due))
        worst = confirmed[0].tally
        made = Episode(
            number=self.ended[0].number + 1 if self.ended else 1,
            signal=worst.signal,
            since=min(a.counts.above_since or areas.moment for a in confirmed),
            first_alarm_time=_first_alarm(count, areas.moment),
            artifact_digest=worst.most(worst.digests) or None,
        )
        return replace(self, episode=_grown(made, areas), began=True)


def _grown(episode: Episode, areas: Areas) -> Episode:
    """With the pools that drift by now, the most servers, and the size where it has moved."""
    before = episode.pools or ()
    more = [a.pool for a in areas.confirmed if a.pool is not None and a.pool not in before]
    return episode.but(
        pools=(*before, *more)[:SHOWN_POOLS] or None,
        servers=max(episode.servers, areas.all.counts.drifting),
        size=_size(episode, areas),
    )


def _size(episode: Episode, areas: Areas) -> float | None:
    """Median size in the episode's signal; the recorded one unless it has moved by much."""
    over: list[Area] = areas.over
    found = (over[0] if over else areas.all).tally.median(episode.signal)
    before = episode.size
    if found is None or (before is not None and abs(found - before) < max(STEADY, abs(before) / 5)):
        return before
    return round(found, 1)


def _first_alarm(count: DriftCount, moment: datetime) -> datetime | None:
    """The first alarm of servers that drift; clocks of servers that are fast count as now."""
    found = []
    for text in count.alarms():
        try:
            found.append(parse_timestamp(text))
        except (ValueError, OverflowError):
            continue  # A schema takes the 31st of February.
    return min(*found, moment) if found else None
