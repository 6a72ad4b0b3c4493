"""When a server was last heard from, by the operator's clock.

Clocks of edge devices are wrong by minutes or hours. So what a report says of its own time decides
nothing: it counts as of the moment when it arrived. A server whose clock is slow is not offline,
and one whose clock is fast is offline once it has been silent for long enough.

    watched        A report that differs from the one before counts as of now. After a watch that
                   was lost the next list shows it: late by the length of the outage at most.
    first seen     After a start of the operator nobody has noted when reports arrived. The API
                   server has: `metadata.managedFields` says when an object's status was written
                   last, by the API server's clock. That moment counts, never later than now. So a
                   restart neither brings servers back that have long been silent, nor takes any
                   away whose clock is wrong.
    no such note   Where the API server keeps none, the report's own time must do, never later than
                   now, until the next report: a fast clock is heard at the start, and a slow one
                   seems silent for at most one interval between reports.
    no report yet  The time since its ModelServer was made counts.

A server's new pod gives it the same time again, whoever reported before: see Member.heard. And a
node that Kubernetes calls NotReady is offline whatever arrives: see Fleet.
"""

from __future__ import annotations

from modelyard.core.fleet.projections import ServerFact


def arrival(
    before: ServerFact | None, arrived: float, server: ServerFact | None, now: float
) -> float:
    """When the last report of a server arrived: seconds since the epoch.

    `before` and `arrived` are the ModelServer and the arrival as known so far.
    """
    if server is None:
        return 0.0
    if not server.report:
        return server.made
    if before is None or before.uid != server.uid:
        return min(now, server.written)
    return arrived if before.report == server.report else now
