"""What outlives the agent's process: the last served version and the traffic counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.api.modelserver import (
    Assignment,
    LoadedVersion,
    ModelServerStatus,
    ServedPeriod,
)
from modelyard.serving.triton import ModelStatistics
from modelyard.workloads.agent.memory import FILE, PERIODS, Memory, Served
from modelyard.workloads.agent.traffic import TrafficMeter

DIGEST = f"sha256:{'a' * 64}"


def at(day: int) -> str:
    return f"2026-01-{day:02}T00:00:00Z"


def served(version: int, day: int = 1) -> Served:
    assignment = Assignment(
        model_version=f"m-{version}",
        version=version,
        artifact="onnx",
        format="onnx",
        digest=DIGEST,
        manifest_digest=DIGEST,
    )
    return Served(assignment=assignment, generation=f"m-{version}-x", since=at(day))


def test_last_and_previous_version_are_remembered(tmp_path):
    memory = Memory(tmp_path / "new", "ns", "d")
    assert memory.served is None
    memory.remember(served(1))
    memory.remember(served(2))
    memory.remember(served(2))

    again = Memory(tmp_path / "new", "ns", "d")

    assert again.served == served(2)
    assert again.previous == served(1).assignment


def periods(memory: Memory) -> list[tuple[int, str, str]]:
    return [(one.version, one.since, one.until) for one in memory.history]


def test_history_tells_which_version_answered_when(tmp_path):
    memory = Memory(tmp_path, "ns", "d")
    for version, day in ((1, 1), (2, 3), (1, 4)):
        memory.remember(served(version, day))
    again = Memory(tmp_path, "ns", "d")
    assert periods(again) == [(2, at(3), at(4)), (1, at(1), at(3))]


def test_restarts_of_one_version_make_one_period(tmp_path):
    for version, day in ((1, 1), (1, 5), (1, 7), (2, 9)):
        Memory(tmp_path, "ns", "d").remember(served(version, day))
    assert periods(Memory(tmp_path, "ns", "d")) == [(1, at(1), at(9))]


def test_history_is_bounded(tmp_path):
    memory = Memory(tmp_path, "ns", "d")
    for number in range(1, PERIODS + 6):
        memory.remember(served(number, number))
    assert [one.version for one in memory.history] == list(range(PERIODS + 4, 4, -1))


def test_pod_with_an_empty_cache_takes_over_what_the_one_before_it_reported(tmp_path):
    status = ModelServerStatus(
        loaded=LoadedVersion(model_version="m-2", version=2, digest=DIGEST, since=at(5)),
        history=[
            ServedPeriod(model_version="m-1", version=1, digest=DIGEST, since=at(1), until=at(5))
        ],
    )
    memory = Memory(tmp_path, "ns", "d")
    memory.adopt(status)
    assert periods(memory) == [(1, at(1), at(5))]
    memory.remember(served(3, 9))
    assert periods(memory) == [(2, at(5), at(9)), (1, at(1), at(5))]
    # What is remembered counts more.
    memory.adopt(ModelServerStatus())
    assert len(memory.history) == 2


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
    return ModelStatistics("m", version, successes, successes * 2_000_000, failures)


def test_counts_survive_versions_that_come_and_go(tmp_path):
    meter = TrafficMeter(tmp_path, "pod")
    for look in (
        [counters("1", 10)],
        [counters("1", 15, failures=4)],  # Triton counts each of an ensemble twice
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


def test_other_artifacts_of_the_version_leave_the_previous_one_in_place(tmp_path):
    memory = Memory(tmp_path, "ns", "d")
    memory.remember(served(1))
    memory.remember(served(2, 3))
    again = served(2, 3)
    changed = again.assignment.model_copy(update={"content_digest": DIGEST})
    memory.remember(again.model_copy(update={"assignment": changed}))
    assert memory.previous == served(1).assignment
    assert memory.served.assignment.content_digest == DIGEST
    assert periods(memory) == [(1, at(1), at(3))], "it answers all the time"
