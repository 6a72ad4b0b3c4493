"""What monitoring found of a Deployment: conditions, status and events.

    Drifting         True      enough servers drift at once, for long enough, or an episode goes on
                     Unknown   too few servers have a baseline, or nothing reports: no evidence
                     False     there is evidence, and fewer servers drift
    NotLikeHoldout   True      servers see something else than the holdout that the version was
                               evaluated on; absent otherwise
    Capturing        images are kept for labelling (capturing.py)

None of them changes the phase: a Deployment that drifts serves as well as before, and what to do
about it is for people, or a policy, to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.monitoring import Drift, FindingKind
from modelyard.api.monitoringstatus import EpisodeOutcome, FindingCount, MonitoringStatus
from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.conditions import Cond, timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.capturing import capturing
from modelyard.core.deployment.driftareas import Area, Areas, areas_of, pool_counts
from modelyard.core.deployment.episodes import Episodes
from modelyard.core.deployment.monitoring import Asked, asked
from modelyard.core.deployment.observed import Observed
from modelyard.core.fleet.driftcount import Tally
from modelyard.core.plan import Event

NAMED = 5
"""Pools and findings that a message names."""


@dataclass(frozen=True)
class Judgement:
    """What monitoring adds to a decision."""

    status: MonitoringStatus | None
    conditions: Sequence[Cond] = ()
    events: tuple[Event, ...] = ()
    requeue_at: tuple[datetime, ...] = ()


NOT_MONITORED = Judgement(None)


def judge(observed: Observed, wanted: MonitoringStatus, now: datetime) -> Judgement:
    """Whether the Deployment drifts. `wanted` is the status as recorded, with what servers are to
    be told (monitoring.py)."""
    spec, moment = observed.spec.monitoring, now.replace(microsecond=0)
    kept = capturing(observed, wanted)
    acted = asked(observed, wanted)
    episodes = Episodes.of(wanted)
    for one in acted:
        episodes = episodes.end(one.outcome, moment, one.by)
    if spec is None or spec.drift is None:
        episodes = episodes.end(EpisodeOutcome.SWITCHED_OFF, moment)
        status = wanted.but(drift=None, pools=None, findings=None, **_fields(episodes))
        events = (*_events(acted), *episodes.events, *kept.events)
        return Judgement(status if status.wire() else None, kept.conditions, events)
    areas = areas_of(observed, spec.drift, wanted, restart=bool(acted), moment=moment)
    episodes = episodes.follow(areas, observed.fleet.drift)
    cond = _condition(observed, areas, episodes)
    status = wanted.but(
        drift=areas.all.counts,
        pools=pool_counts(areas),
        findings=_findings(areas.all.tally),
        **_fields(episodes),
    )
    began = (Event("Warning", "DriftDetected", cond.message),) if episodes.began else ()
    return Judgement(
        status=status,
        conditions=[cond, *_unlike_holdout(spec.drift, areas.all.tally), *kept.conditions],
        events=(*_events(acted), *episodes.events, *began, *kept.events),
        requeue_at=episodes.requeue_at,
    )


def _fields(episodes: Episodes) -> dict[str, object]:
    return {"episode": episodes.episode, "episodes": episodes.ended or None}


def _events(acted: Sequence[Asked]) -> tuple[Event, ...]:
    """Somebody asked something of all servers."""
    texts = {
        EpisodeOutcome.ACCEPTED: (
            "DriftAccepted",
            "servers take what they see as their new normal",
        ),
        EpisodeOutcome.RESET: ("DriftReset", "servers take new baselines"),
    }
    return tuple(
        Event("Normal", texts[one.outcome][0], f"{texts[one.outcome][1]}{attribution.by(one.by)}")
        for one in acted
    )


def _condition(observed: Observed, areas: Areas, episodes: Episodes) -> Cond:
    """The condition Drifting."""
    one, total = episodes.episode, areas.all.counts
    tail = _others(areas.all.tally)
    if not areas.rule.sound:
        text = (
            "false alarms alone keep servers drifting: set spec.monitoring.drift.hold below "
            "expectedRunLength"
        )
        return Cond(reasons.DRIFTING, None, reasons.HOLD_TOO_LONG, text)
    if one is not None:
        if areas.over or areas.evidence(one.pools or ()):
            text = f"{_drift(observed, areas, episodes)}{tail}"
            return Cond(reasons.DRIFTING, True, reasons.SERVERS_DRIFT, text)
        since = timestamp(one.since)
        reason, text = _no_evidence(observed, areas)
        text = f"drift in {one.signal} since {since} is not known to be over: {text}{tail}"
        return Cond(reasons.DRIFTING, None, reason, text)
    if areas.over:
        area = areas.over[0]
        due = timestamp((area.counts.above_since or areas.moment) + areas.hold_for)
        text = f"{_how_many(area)}; this is drift if it lasts until {due}{tail}"
        return Cond(reasons.DRIFTING, False, reasons.DRIFT_SUSPECTED, text)
    if areas.unknown:
        reason, text = _no_evidence(observed, areas)
        return Cond(reasons.DRIFTING, None, reason, f"{text}{tail}")
    text = f"{total.drifting} of {total.baseline} servers drift; {total.threshold} would be drift"
    return Cond(reasons.DRIFTING, False, reasons.NO_DRIFT, f"{text}{tail}")


def _drift(observed: Observed, areas: Areas, episodes: Episodes) -> str:
    """What drifts, by how much, since when, where, and what to do."""
    one, name = episodes.episode, meta.name(observed.obj)
    assert one is not None
    area = (areas.over or [areas.all])[0]
    because = area.tally.most(area.tally.because)
    size = f", median {one.size:+.1f} baseline sd" if one.size is not None else ""
    why = f", with {because}" if because and because != one.signal else ""
    pools = f", in pools {_named(one.pools)}" if one.pools else ""
    ending = ""
    if one.below_since is not None:
        due = timestamp(one.below_since + areas.hold_for)
        ending = f"; fewer drift since {timestamp(one.below_since)}, over if so until {due}"
    return (
        f"{one.signal or 'a signal'} drifted{size}{why}, since {timestamp(one.since)}: "
        f"{_how_many(area)}{pools}{ending}. See `modelyard drift {name}`; if this is the new "
        f"normal, `modelyard drift accept {name}`, else label captured images and train again"
    )


def _how_many(area: Area) -> str:
    counts = area.counts
    where = f" of pool {area.pool or '(none)'}" if area.pool is not None else ""
    return f"{counts.drifting} of {counts.baseline} servers{where} drift, {counts.threshold} needed"


def _no_evidence(observed: Observed, areas: Areas) -> tuple[str, str]:
    """Why nothing can be said: reason and words."""
    total, tally = areas.all.counts, areas.all.tally
    if not total.online and not observed.edge and not observed.replicas:
        return reasons.SUSPENDED, "no server runs: the Deployment is scaled to zero"
    if not total.online:
        return reasons.NO_EVIDENCE, "no server can be reached"
    if not tally.reporting:
        text = f"none of {total.online} servers reports of drift yet"
        return reasons.NO_EVIDENCE, text
    if not areas.all.known:
        text = (
            f"{total.baseline} of {total.online} servers have a complete baseline; half must, see "
            "spec.monitoring.drift.baseline"
        )
        return reasons.BASELINE_INCOMPLETE, text
    pools = [area.pool or "(none)" for area in areas.unknown if area.pool is not None]
    text = f"in pools {_named(pools)} fewer than half of the servers have a complete baseline"
    return reasons.BASELINE_INCOMPLETE, text


def _unlike_holdout(drift: Drift, tally: Tally) -> list[Cond]:
    """The condition NotLikeHoldout, where enough servers say so."""
    count = tally.others[FindingKind.NOT_LIKE_HOLDOUT]
    share = float(drift.fleet.min_share.rstrip("%")) / 100
    if count < max(1, math.ceil(share * tally.reporting)):
        return []
    text = (
        f"what {count} of {tally.reporting} servers see does not look like the holdout that the "
        "version was evaluated on: its metrics may not hold there. Label captured images of "
        "these servers and evaluate on them"
    )
    return [Cond(reasons.NOT_LIKE_HOLDOUT, True, reasons.SERVERS_DIFFER, text)]


def _findings(tally: Tally) -> tuple[FindingCount, ...] | None:
    found = sorted(tally.others.items())
    return tuple(FindingCount(kind=kind, servers=count) for kind, count in found) or None


def _others(tally: Tally) -> str:
    """Findings that are no drift, the most frequent first."""
    found = sorted(tally.others.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    return f" (also: {', '.join(f'{kind} on {count}' for kind, count in found)})" if found else ""


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    text = ", ".join(name or "(none)" for name in names[:NAMED])
    return f"{text} and {more} more" if more > 0 else text
