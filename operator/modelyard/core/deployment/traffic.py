"""Which servers and how many requests stable and the candidate get, where a Gateway splits.

Pods are the same for all versions, which come and go inside them. So each pod carries a label that
says which release answers there, and two Services select by it while they must differ: during the
steps of a rollout but the last, and until all servers are back after a rollback. At all other
times both select all servers: what serves then depends neither on labels nor on the operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.projections import name_in
from modelyard.core.naming import short_hash


class Server(NamedTuple):
    """A serving pod."""

    pod: str
    uid: str
    ready: bool
    label: str | None
    """What it is labelled with; None without the label."""
    assigned: str
    """Release key of what it is to hold."""
    loaded: str
    """Release key of what answers; empty if nothing does."""

    @property
    def settled(self) -> bool:
        """Whether what answers is what is to answer."""
        return bool(self.loaded) and self.loaded == self.assigned

    @property
    def firm(self) -> bool:
        """Whether it answers, is to go on so, and its label says what."""
        return self.ready and self.settled and self.label == mark(self.loaded)


@dataclass(frozen=True)
class Split:
    """How requests are split."""

    stable: str = ""
    """Label of stable's servers; empty: all servers."""
    candidate: str = ""
    """Label of the candidate's servers; empty: the same as stable's."""
    weight: int = 0
    """Percent of requests for the candidate."""

    @property
    def narrow(self) -> bool:
        """Whether the label decides who gets requests."""
        return bool(self.stable)


def servers_of(fleet: Fleet) -> list[Server]:
    """The serving pods of a fleet. Costs a step for each: where there is a Gateway, servers are
    few enough to be behind one."""
    found = []
    for member in fleet.members.values():
        pod, server = member.pod, member.server
        if pod is not None:
            assigned, loaded = (server.assigned, server.loaded) if server else ("", "")
            found.append(Server(pod.name, pod.uid, pod.ready, pod.serves, assigned, loaded))
    return found


def mark(key: str) -> str:
    """The label's value for a release key: what it names before the first colon, made unique by a
    hash of the settings around it."""
    return f"{name_in(key)}-{short_hash(key, length=6)}" if key else ""


def split(
    servers: Sequence[Server],
    *,
    stable: str,
    candidate: str | None,
    cap: int = 100,
    last: bool = False,
) -> Split:
    """How requests are to be split between the release keys `stable` and `candidate`.

    `cap` is the present step's weight in percent: the candidate gets its share of servers up to
    it, so neither side gets more requests than its servers' share while servers move, and exactly
    `cap` once the step is reached. In the `last` step everything may go everywhere.
    """
    if all(key in ("", stable) for s in servers for key in (s.assigned, s.loaded)):
        return Split()  # Nobody has anything but stable.
    answering = [s for s in servers if s.ready]
    # Only servers whose label stays as it is: Services and routes are written before labels.
    shown = Counter(s.label for s in answering if s.firm)
    ours, theirs = mark(stable), mark(candidate or "")
    holding = sum(s.settled and s.loaded == stable for s in answering)
    # Labels that have yet to be written must not leave requests to a few servers.
    known = shown[ours] > 0 and 2 * shown[ours] >= holding
    if last or not known:
        return Split()
    if candidate is None:
        # After a rollback, as soon as stable's servers are enough to bear everything.
        others = len(answering) - shown[ours]
        return Split(stable=ours) if 0 < others <= shown[ours] else Split()
    if not shown[theirs]:
        return Split(stable=ours)
    share = 100 * shown[theirs] // (shown[theirs] + shown[ours])
    return Split(stable=ours, candidate=theirs, weight=min(cap, share))


def labels(servers: Iterable[Server], wanted: Split) -> dict[str, str]:
    """Labels to write, by pod.

    A server that is about to switch leaves its Service first, so that no request for one side is
    answered by the other; unless it is the last one there.
    """
    servers = list(servers)
    staying = Counter(s.label for s in servers if s.firm)
    made = {}
    for one in servers:
        if not one.loaded:
            continue
        label = mark(one.loaded)
        if not one.settled and wanted.narrow and staying[label]:
            label = ""
        if label != one.label:
            made[one.pod] = label
    return made
