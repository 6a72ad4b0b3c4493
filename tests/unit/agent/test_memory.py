"""What outlives the agent's process: the last served version and the traffic counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.serving.triton import ModelStatistics
from modelyard.workloads.agent.memory import FILE, Memory, Served
from modelyard.workloads.agent.traffic import TrafficMeter

DIGEST = f"sha256:{'a' * 64}"


def served(version: int) -> Served:
    assignment = Assignment(
        model_version=f"m-{version}",
        version=version,
        artifact="onnx",
        format="onnx",
        digest=DIGEST,
        manifest_digest=DIGEST,
    )
    return Served(assignment=assignment, generation=f"m-{version}-x", since="2026-01-01T00:00:00Z")


def test_last_and_previous_version_are_remembered(tmp_path):
    memory = Memory(tmp_path / "new", "ns", "d")
    assert memory.served is None
    memory.remember(served(1))
    memory.remember(served(2))
    memory.remember(served(2))

    again = Memory(tmp_path / "new", "ns", "d")

    assert again.served == served(2)
    assert again.previous == served(1).assignment


@pytest.mark.parametrize("text", ["", "{", '{"namespace":"ns"}', "\0\0\0"])
def test_damaged_memory_is_no_memory(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert Memory(tmp_path, "ns", "d").served is None


def test_memory_of_another_deployment_is_left_alone(tmp_path):
    Memory(tmp_path, "ns", "d").remember(served(1))
    assert Memory(tmp_path, "ns", "other").served is None
    assert Memory(tmp_path, "other", "d").served is None


def test_memory_that_cannot_be_written_is_kept_in_the_process(tmp_path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file", "ns", "d")
    memory.remember(served(1))
    assert memory.served == served(1)


def counters(version: str, successes: int, failures: int = 0) -> ModelStatistics:
    return ModelStatistics("m", version, successes, successes * 2_000_000, failures, 0, 0, 0, 0)


def test_counts_survive_versions_that_come_and_go(tmp_path):
    meter = TrafficMeter(tmp_path, "pod")
    for look in (
        [counters("1", 10)],
        [counters("1", 15, failures=2)],
        [counters("2", 3)],  # version 1 is gone
        [],  # Triton is down
        [counters("2", 4)],  # loaded anew
        [counters("2", 1)],  # and anew
    ):
        meter.add(look)
    assert (meter.requests, meter.failures) == (15 + 3 + 4 + 1, 2)


def test_mean_is_of_the_time_since_the_last_report(tmp_path):
    meter = TrafficMeter(tmp_path, "pod")
    assert meter.report() is None
    meter.add([counters("1", 10)])
    assert meter.report().mean_milliseconds == 2.0
    meter.reported()
    assert meter.report().mean_milliseconds is None
    assert meter.report().requests == 10


def test_agent_that_restarts_goes_on_counting_but_another_pod_starts_at_0(tmp_path: Path):
    meter = TrafficMeter(tmp_path, "pod")
    meter.add([counters("1", 10)])
    meter.reported()

    again = TrafficMeter(tmp_path, "pod")
    again.add([counters("1", 12)])
    other = TrafficMeter(tmp_path, "pod-2")
    other.add([counters("1", 1)])

    assert again.requests == 12
    assert other.requests == 1
