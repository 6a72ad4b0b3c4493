"""The profile of serving: times put together from three sources, and the flame graph."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ...benchmarks.serving import flame
from ...benchmarks.serving import profilefigures as figures
from ...benchmarks.serving.profile import read_spans, read_traces

MS = 1_000_000


def trace(number: int, model: str, parent: int | None, **times: int) -> list[dict]:
    """As Triton writes it: one entry with the names, one for each event. Times in ms."""
    head = {"id": number, "model_name": model, "model_version": 1}
    if parent is not None:
        head["parent_id"] = parent
    events = [{"name": name, "ns": ms * MS} for name, ms in times.items()]
    return [head, *({"id": number, "timestamps": [one]} for one in events)]


def step(number: int, model: str, parent: int, start: int, *, queued: int, took: int) -> list[dict]:
    """A step's trace: 1 ms before its queue, 1 ms of copies before it computes."""
    begun = start + 1 + queued
    return trace(
        number, model, parent, REQUEST_START=start, QUEUE_START=start + 1, COMPUTE_START=begun,
        COMPUTE_INPUT_END=begun + 1, COMPUTE_OUTPUT_START=begun + 1 + took,
        COMPUTE_END=begun + 1 + took, REQUEST_END=begun + 2 + took,
    )  # fmt: skip


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A request of 60 ms in two steps, of which the last has no stopwatch; one from before."""
    entries = [
        *trace(1, "digits", None, REQUEST_START=100, REQUEST_END=160),
        *step(2, "digits-1-0-pipeline", 1, 101, queued=5, took=12),
        *step(3, "digits-1-0-network", 1, 121, queued=3, took=30),
        *trace(4, "digits", None, REQUEST_START=10, REQUEST_END=60),
    ]
    (tmp_path / "trace.json.0").write_text(json.dumps(entries))
    (tmp_path / "trace.json.1").write_text('[{"id": ')  # being written
    return tmp_path


def spans(folder: Path) -> dict:
    laps = {"decode": 4 * MS, "boxes": 2 * MS, "other": 1 * MS}
    lines = [
        {"begin": 108 * MS, "end": 115 * MS, "images": 1, "laps": laps},
        {"begin": 20 * MS, "end": 27 * MS, "images": 1, "laps": {"decode": 7 * MS}},
    ]
    folder.mkdir()
    text = "".join(json.dumps(one) + "\n" for one in lines)
    (folder / "digits-1-0-pipeline.77.jsonl").write_text(text)
    return read_spans(folder, 90 * MS, 200 * MS)


def profile(folder: Path, whole: int, tmp_path: Path) -> figures.Profile:
    counted = {"digits": figures.Counts(2, 2 * whole * MS, 0, 0)}
    return figures.put_together(
        protocol="grpc", clients=1, seen=(0.064, 10), first=90 * MS,
        traces=read_traces(folder, 90 * MS, 200 * MS), spans=spans(tmp_path / "laps"),
        counted=counted,
    )  # fmt: skip


def test_the_steps_of_a_request_add_up_to_what_the_client_sees(
    traces: Path, tmp_path: Path
) -> None:
    found = profile(traces, 60, tmp_path)

    milliseconds = {name: round(1e3 * value, 3) for name, value in found.steps.items()}
    # The pipeline is in its model for 14 ms after the queue, of which its stopwatch names 7; the
    # network computes for 30 ms. Each has 1 ms before its queue and 1 ms of input.
    assert milliseconds == {
        "queue": 8, "decode": 4, "boxes": 2, "other": 1, "network": 30, "copies": 9,
        "scheduling": 6, "protocol": 4,
    }  # fmt: skip
    assert sum(milliseconds.values()) == pytest.approx(64)
    assert found.inside == pytest.approx(0.060)


@pytest.mark.parametrize(("whole", "met"), [(60, True), (62, True), (70, False), (50, False)])
def test_a_profile_that_disagrees_with_triton_is_none(
    traces: Path, tmp_path: Path, whole: int, met: bool
) -> None:
    tables, (goal,) = figures.report([profile(traces, whole, tmp_path)], [])
    assert goal.met is met
    assert any("network" in row[0] for row in tables[0].rows)


def test_without_traces_there_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="traced no request"):
        profile(tmp_path, 60, tmp_path)


def test_a_flame_graph_is_as_wide_as_its_samples() -> None:
    stacks = {"pipeline;execute;decode": 30, "pipeline;execute;run": 60, "pipeline;flush": 10}
    root = ElementTree.fromstring(flame.svg(stacks, "a & b"))
    space = "{http://www.w3.org/2000/svg}"
    widths = {
        str(group.findtext(f"{space}title")): float(group.find(f"{space}rect").get("width"))
        for group in root.iter(f"{space}g")
    }
    assert widths == {
        "pipeline 100.0%": flame.WIDTH - 0.5, "execute 90.0%": flame.WIDTH * 0.9 - 0.5,
        "decode 30.0%": flame.WIDTH * 0.3 - 0.5, "run 60.0%": flame.WIDTH * 0.6 - 0.5,
        "flush 10.0%": flame.WIDTH * 0.1 - 0.5,
    }  # fmt: skip


def test_addresses_become_their_library() -> None:
    stack = "execute (model.py:1);0x7efe (libc.so.6);0x7eff (libc.so.6);run (x.py:2)"
    assert flame.readable(stack) == "execute (model.py:1);libc.so.6);run (x.py:2)".replace(
        "libc.so.6)", "(libc.so.6)"
    )
