"""Drift of what a server sees, found at a declared rate of false alarms. Pure statistics.

A camera's images change for many reasons, and a chart that is calibrated carelessly reports a
change every few days with nothing wrong. This package turns sampled images into blocks, blocks
into a baseline, and a baseline into charts whose expected time between false alarms is the
declared one. docs/drift.md explains the method and its sources.

    observation.py   the figures of one sampled image (computed by modelyard/signals)
    signals.py       names and order of the signals
    settings.py      what a Deployment declares
    pilot.py         the first images: how long must a block be?
    blocks.py        images → blocks, and a block's value of each signal
    series.py        values of many blocks, packed
    baseline.py      blocks → a baseline and its charts; suspicion.py: is it to be believed?
    cusum.py         thresholds of charts of blocks; days.py: charts of day means
    charts.py        what a block changes in a chart; recent.py: the last points of all charts
    line.py          baselines and charts of one source under one key
    scene.py         dark and moved cameras; profile.py: does the site look like the holdout?
    samples.py       embeddings for mmd.py, the permutation test that confirms an alarm
    source.py        all of these for one source; actions.py: accept, reset; bridging.py: rollouts
    findings.py      what is reported; reporting.py: what holds of a source
    codec.py         states as JSON
    monitor.py       the entry point: step(state, event, settings) → (state, events)

No module reads a clock, a file or the environment: times come with the events, random numbers from
seeds that are derived from keys. States are frozen and go through JSON unchanged. Who feeds it:
workloads/agent. How many servers of a fleet must drift at once: core/fleet/driftnull.py.
"""
