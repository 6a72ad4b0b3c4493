"""Drift of what a server sees, found at a declared rate of false alarms. Pure statistics.

A camera's images change for many reasons, and a chart that is calibrated carelessly reports a
change every few days with nothing wrong. This package turns sampled images into blocks, blocks
into a baseline, and a baseline into charts whose expected time between false alarms is the
declared one. docs/drift.md explains the method and its sources.

    observation.py   the figures of one sampled image
    imagefigures.py  how brightness, sharpness, layout and so on are computed from pixels
    embedding.py     random projections and random Fourier features of an embedding
    signals.py       names and order of the signals
    blocks.py        images → blocks
    series.py        values of many blocks, packed
    baseline.py      blocks → a baseline; is it suspicious? accept, bridge
    cusum.py         a baseline → charts with thresholds; days.py: charts of day means
    profile.py       the holdout's summary, and whether a site looks like it
    scene.py         blank frames, moved cameras, too few requests
    mmd.py           a permutation test that confirms an alarm
    findings.py      what is reported
    source.py        all of these for one source
    monitor.py       the entry point: step(state, event, settings) → (state, events)

No module reads a clock, a file or the environment: times come with the events, random numbers from
seeds that are derived from keys. States are frozen and go through JSON unchanged. Who feeds it:
workloads/agent. How many servers of a fleet must drift at once: core/fleet/driftnull.py.
"""
