"""What ModelServer.spec.monitoring asks for, in the terms of the statistics."""

from __future__ import annotations

import hashlib

from modelyard.api.monitoring import ServerDrift, ServerMonitoring, long_duration_seconds
from modelyard.api.pipeline import Pipeline
from modelyard.drift.settings import DriftSettings
from modelyard.drift.signals import Signal
from modelyard.workloads.agent.watch import Assigned

SHORTEST_SAMPLE = 0.1
"""Shortest interval of samples in seconds: a duration of 0 is allowed by its type."""


def wished(assigned: Assigned, remembered: ServerMonitoring | None) -> ServerMonitoring | None:
    """What is to be monitored. Until the ModelServer is seen for the first time, that is what it
    said when the agent ran last."""
    return assigned.monitoring if assigned.server is not None else remembered


def sample_seconds(drift: ServerDrift) -> float:
    """Seconds between two drawn requests of a source."""
    return max(float(long_duration_seconds(drift.sample)), SHORTEST_SAMPLE)


def drift_settings(drift: ServerDrift) -> DriftSettings:
    """Settings of the statistics."""
    return DriftSettings(
        sample=sample_seconds(drift),
        block_duration=float(long_duration_seconds(drift.block.duration)),
        block_images=drift.block.images,
        sources=drift.source.max,
        signals=tuple(Signal(one.value) for one in drift.signals),
        explain=tuple(Signal(one.value) for one in drift.explain),
        baseline_days=float(drift.baseline.days),
        baseline_blocks=drift.baseline.blocks,
        expected_run_length=max(float(long_duration_seconds(drift.expected_run_length)), 1.0),
        hold=float(long_duration_seconds(drift.hold)),
    )


def pipeline_key(pipeline: Pipeline) -> str:
    """Names the settings that a request was answered with: boxes depend on them, and so do
    baselines."""
    text = f"{pipeline.confidence} {pipeline.iou} {pipeline.max_detections}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]
