"""What each server is to do beside serving: spec.monitoring of its ModelServer.

    spec.monitoring.drift      without `fleet`, which the operator judges (drifting.py)
    spec.monitoring.capture    each server's share of `fleet.images`
    annotations                `drift-accept`, `drift-reset`: each value reaches every server, and
                               servers act on it once; `capture: NUMBER/ID`: some servers are asked

All servers get the same, so thousands of ModelServers are rewritten only if that changes. Shares
are powers of two, divided among a number of servers that is kept in the status until it is exceeded
or much too large: a fleet that grows and shrinks by some servers writes nothing. Servers that were
asked for images now have that value beside; see `Wanted.of`.

Which servers are written, and how many a second: servers.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from modelyard.api.monitoring import (
    Capture,
    ServerCapture,
    ServerDrift,
    ServerMonitoring,
    per_day,
)
from modelyard.api.monitoringstatus import (
    CaptureRequest,
    CaptureShare,
    EpisodeOutcome,
    MonitoringAction,
    MonitoringStatus,
)
from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.deployment.actions import PREFIX, user_of
from modelyard.core.deployment.observed import Observed
from modelyard.core.fleet.member import Assigned, Member
from modelyard.core.fleet.monitored import text_of
from modelyard.core.plan import KubeObject

SHRUNK = 0.75
"""Shares grow only once there are fewer servers than this share of those that they were divided
among."""
_REQUEST = re.compile(r"^([1-9][0-9]{0,4})/([0-9a-z]{1,16})$")


@dataclass(frozen=True)
class Wanted:
    """What servers are to monitor."""

    text: str
    """ServerMonitoring as comparable text; empty for nothing."""
    asked: str
    """The same with a request for images, for servers that were asked; `text` without one."""
    status: MonitoringStatus
    """What the status is to say of it; everything else of it is as it was."""

    def of(self, member: Member) -> str:
        """What a server is to have: one that was asked for images keeps that."""
        live = member.server.monitoring if member.server is not None else ""
        return self.asked if self.requested_of(live) else self.text

    def requested_of(self, text: str) -> bool:
        """Whether a server with this monitoring was asked for the images that are wanted now."""
        each = self.status.requested.each if self.status.requested else None
        return each is not None and f'"onDemand":"{each}"' in text

    def taking_part(self, observed: Observed) -> int:
        """Servers that were asked for the images that are wanted now."""
        texts = observed.fleet.monitored
        return sum(len(texts[one]) for one in texts if self.requested_of(one))

    def outdated(self, texts: Mapping[str, set[str]]) -> Iterator[str]:
        """Of servers by their monitoring, those that have neither what is wanted of all nor what is
        wanted of some, by name."""
        for text in sorted(texts):
            if text not in (self.text, self.asked):
                yield from sorted(texts[text])

    def missing(self, observed: Observed) -> Iterator[Member]:
        """Servers that are to be asked for images next, in the fleet's order."""
        request = self.status.requested
        if request is None or request.assigned or self.asked == self.text:
            return
        free = (
            member
            for member in answering(observed)
            if member.server is not None and not self.requested_of(member.server.monitoring)
        )
        yield from islice(free, request.servers - self.taking_part(observed))


NOTHING = Wanted("", "", MonitoringStatus())


def wire(text: str) -> KubeObject | None:
    """The object of a text."""
    found: KubeObject | None = json.loads(text) if text else None
    return found


def wanted(observed: Observed) -> Wanted:
    """What servers are to monitor, by the spec, the annotations and what was recorded."""
    spec, before = observed.spec.monitoring, observed.recorded.monitoring or MonitoringStatus()
    if spec is None:
        return Wanted("", "", before.but(share=None, accepted=None, reset=None, requested=None))
    share = capture_share(spec.capture, len(observed.fleet.members), before.share)
    base = ServerMonitoring(
        drift=_drift(observed),
        capture=_capture(spec.capture, share),
        accepted=_action(observed, MonitoringAction.ACCEPT, before.accepted),
        reset=_action(observed, MonitoringAction.RESET, before.reset),
    )
    request = requested(observed, before.requested)
    status = before.but(share=share, accepted=base.accepted, reset=base.reset, requested=request)
    text = text_of(base)
    if request is None or request.each is None or base.capture is None:
        return Wanted(text, text, status)
    capture = base.capture.model_copy(update={"on_demand": request.each})
    found = Wanted(text, text_of(base.model_copy(update={"capture": capture})), status)
    done = request.assigned or found.taking_part(observed) >= request.servers
    return replace(found, status=status.but(requested=request.but(assigned=done)))


def _drift(observed: Observed) -> ServerDrift | None:
    spec = observed.spec.monitoring
    if spec is None or spec.drift is None:
        return None
    return ServerDrift.model_validate(spec.drift.model_dump(exclude={"fleet"}))


def _capture(capture: Capture | None, share: CaptureShare | None) -> ServerCapture | None:
    if capture is None or share is None:
        return None
    counts = share.model_dump(exclude={"servers"})
    return ServerCapture(**counts, redact=capture.redact)


def _action(observed: Observed, action: MonitoringAction, before: str | None) -> str | None:
    """The value of an action's annotation. One that was taken away changes nothing."""
    value = meta.annotation(observed.obj, PREFIX + action)
    # Anybody may write anything there; what a ModelServer's schema refuses would stop its rollout.
    return _UNUSUAL.sub("-", value[:64]) if value else before


_UNUSUAL = re.compile(r"[^A-Za-z0-9@:._+-]")


class Asked(NamedTuple):
    """Somebody dealt with drift."""

    outcome: EpisodeOutcome
    by: str | None


def asked(observed: Observed, wanted: MonitoringStatus) -> list[Asked]:
    """What people ask by annotations that was not acted on yet."""
    before = observed.recorded.monitoring or MonitoringStatus()
    new = [
        (MonitoringAction.ACCEPT, EpisodeOutcome.ACCEPTED, wanted.accepted, before.accepted),
        (MonitoringAction.RESET, EpisodeOutcome.RESET, wanted.reset, before.reset),
    ]
    return [
        Asked(outcome, user_of(observed.obj, attribution.asked_by(action)))
        for action, outcome, value, known in new
        if value is not None and value != known
    ]


def capture_share(
    capture: Capture | None, servers: int, before: CaptureShare | None
) -> CaptureShare | None:
    """Images a day of each server, so that those of all stay within `capture.fleet`.

    Where there is enough for what the spec asks of each server, that is the share. Otherwise at
    least half is for random images, the unbiased part, and each part is a power of two.
    """
    if capture is None:
        return None
    among = max(servers, 1)
    if before is not None and SHRUNK * before.servers <= among <= before.servers:
        among = before.servers
    asked = [per_day(rate) for rate in (capture.random, capture.uncertain, capture.drifting)]
    each = per_day(capture.fleet.images) // among
    random, uncertain, drifting = asked
    if sum(asked) > each:
        rest = uncertain + drifting
        random = min(random, _power_of_two(each - each // 2 if rest else each))
        left = each - random
        drifting = min(drifting, _power_of_two(left * drifting // rest if rest else 0))
        uncertain = min(uncertain, _power_of_two(left - drifting))
    return CaptureShare(servers=among, random=random, uncertain=uncertain, drifting=drifting)


def _power_of_two(number: int) -> int:
    """The largest power of two up to a number; 0 for none."""
    return 1 << (number.bit_length() - 1) if number > 0 else 0


def requested(observed: Observed, before: CaptureRequest | None) -> CaptureRequest | None:
    """The images that somebody asks for, divided among the servers that answer; decided once for
    each value of the annotation."""
    value = meta.annotation(observed.obj, PREFIX + MonitoringAction.CAPTURE)
    if not value or (before is not None and before.value == value[:32]):
        return before
    found = _REQUEST.match(value)
    if found is None:
        text = f"{PREFIX}{MonitoringAction.CAPTURE} is not NUMBER/ID, such as 20/a1: set it so"
        return CaptureRequest(value=value[:32], problem=text)
    servers = sum(1 for _ in answering(observed))
    if not servers:
        return before  # Decided when a server answers.
    number, name = int(found[1]), found[2]
    taking_part = min(number, servers)
    each = min(-(-number // taking_part), 9999)
    return CaptureRequest(value=value[:32], each=f"{each}/{name}", servers=taking_part)


def answering(observed: Observed) -> Iterator[Member]:
    """Servers that answer with what is assigned to them, in the fleet's order."""
    groups = [
        group
        for group in observed.fleet.groups
        if group.online and group.ready and group.state is Assigned.HOLDS
    ]
    return observed.fleet.ordered(groups)
