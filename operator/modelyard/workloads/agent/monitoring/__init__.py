"""Monitoring: is what this server sees still what it saw before? Works offline.

Triton's pipeline draws one request per interval and source (serving/draws.py). Each is decoded and
measured here and given to the statistics (package `drift`), whose state lies in the cache's folder.
What they find goes into the ModelServer's status when it changes; the fleet's verdict is the
operator's (core/fleet). docs/drift.md explains the method.

    loop.py       takes what was drawn, steps the statistics, obeys accept and reset
    wish.py       what spec.monitoring asks for, also when no API server can be reached
    figures.py    a drawn request → an observation
    profiles.py   the holdout's profile of what answers
    bridging.py   the same images answered by a shadowed version, so that its baseline is there
                  before it serves
    own.py        findings of the agent's own: clock, sources, embedding, cache
    clock.py      is the clock synchronised?
    keeping.py    the state on disk
    summary.py    findings → ModelServer.status.drift, at most 1 kB
    gauges.py     the same for Prometheus
    series.py     recent points of all charts, for `modelyard drift`
"""
