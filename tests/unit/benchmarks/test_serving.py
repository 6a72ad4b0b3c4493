"""Samples and goals of the benchmark of serving, and its load generator."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ...benchmarks.serving import __main__ as command
from ...benchmarks.serving import arms, batches, footprint, overhead, shadow, swap
from ...benchmarks.serving import overheadfigures as figures
from ...benchmarks.serving.load import Driver, Failed, Load, payloads, rows, run


def load(out: Path, **more: object) -> Load:
    fields = {"kind": "grpc", "target": "", "model": "digits", "payload": "", "out": str(out)}
    return Load(**(fields | more))  # type: ignore[arg-type]


def test_requests_that_touch_a_swap_are_told_from_the_others(tmp_path: Path) -> None:
    # Ten requests of 10 ms, one a second; those at 3 and 4 s are slow, the one at 3 s fails.
    due = np.arange(10.0)
    seconds, answered = np.full(10, 0.01), np.ones(10)
    seconds[3:5], answered[3] = (0.3, 0.2), 0
    np.save(tmp_path / "rows.npy", np.stack([due, seconds, answered], axis=1))

    found = swap.sample("closed loop", load(tmp_path / "rows.npy"), [(3.2, 4.5)])

    assert (found.requests, found.failed) == (10, 1)
    assert found.steady_p99 == pytest.approx(10)
    assert found.slowest == [300]
    assert found.times_p99 == pytest.approx(30)
    swaps = swap.Swaps("closed loop", [(3.2, 4.5)], [1.0], [0.02])
    _, goals = swap.report([found], [swaps])
    assert [goal.met for goal in goals] == [False, False]


def of_arms(clients: int = 2, **rates: tuple[float, float]) -> list[figures.Sample]:
    """Two rounds of arms with a rate and a latency in one cell."""
    return [
        figures.Sample(
            arm.replace("_", "-"), number, 320, "640x480", clients, rate / number, p99, p99, 0
        )
        for number in (1, 2)
        for arm, (rate, p99) in rates.items()
    ]


def test_the_better_peer_is_the_one_to_beat() -> None:
    samples = of_arms(
        plain=(100, 10),
        network=(96, 10),
        pipeline_grpc=(90, 12),
        pipeline_http=(70, 14),
        fastapi_onnx=(20, 50),
        fastapi_pt_cores=(35, 28),
        litserve=(200, 1),
    )

    (table, ratios), goals = figures.report(samples, {"litserve": "no wheel"})

    assert [goal.measured for goal in goals] == [0.938, 0.96, 2, 0.5, 0.5, None]
    assert [goal.met for goal in goals] == [True, True, True, True, True, False]
    known = ("plain", "network", "pipeline-grpc", "pipeline-http", "fastapi-onnx")
    assert [row[0] for row in table.rows][:5] == [arms.LABELS[name] for name in known]
    assert "LitServe" in ratios.note
    assert "no wheel" in ratios.note


def test_a_goal_holds_in_every_cell_or_not_at_all() -> None:
    fast = of_arms(1, pipeline_http=(70, 14), fastapi_onnx=(20, 50))
    slow = of_arms(8, pipeline_http=(70, 14), fastapi_onnx=(60, 15))

    _, goals = figures.report([*fast, *slow], {})

    found = {goal.name.split(" of the")[0]: goal.measured for goal in goals}
    assert found["over HTTP, requests/s"] == 1.167
    assert found["over HTTP, p50"] == 0.933
    assert found["over HTTP, a single client's p50"] == 0.28

    # A cell in which the peers were not asked is no evidence.
    _, goals = figures.report([*fast, *of_arms(8, pipeline_http=(70, 14))], {})
    assert goals[2].measured is None


def test_a_cell_counts_what_was_answered_within_it() -> None:
    # Two clients that take half a second each, of which the first two requests are warming up.
    due = np.array([0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0])
    spent, answered = np.full(10, 0.5), np.ones(10)
    answered[4] = 0

    rate, p50, p99, failed = overhead.counted(np.stack([due, spent, answered], axis=1), 1.5)

    # From 0.5 to 2 s: answers at 1, 1, 1.5 (one failed), 2, 2.
    assert rate == pytest.approx(5 / 1.5, abs=0.01)
    assert (p50, p99, failed) == (500, 500, 1)


def test_a_batch_counts_as_so_many_images() -> None:
    rows = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 2.0, 0.0]])
    assert batches.rate(rows, 4) == 2.0
    samples = [
        batches.Sample(arm, 1, count, rate)
        for count in batches.COUNTS
        for arm, rate in (("request", 12.0), ("predict-onnx", 8.0), ("predict-pt", 10.0))
    ]
    _, (goal,) = batches.report(samples, {})
    assert (goal.measured, goal.met) == (1.2, True)
    _, (goal,) = batches.report(samples[:-3], {"request": "refused"})
    assert (goal.measured, goal.met) == (None, False)


def test_a_footprint_is_compared_with_the_layout_before() -> None:
    samples = [
        footprint.Sample(arm, number, megabytes, 60, start)
        for number in (1, 2)
        for arm, megabytes, start in (("modelyard", 140, 3.0), ("before", 200, 4.0))
    ]
    _, goals = footprint.report(samples, {})
    assert [(goal.measured, goal.met) for goal in goals] == [(0.7, True), (0.75, True)]
    _, goals = footprint.report([one for one in samples if one.arm == "modelyard"], {})
    assert [goal.measured for goal in goals] == [None, None]


def test_a_shadow_that_costs_too_much_or_answers_nothing_misses_the_goal() -> None:
    samples = [
        shadow.Sample(arm, 1, 100, 0, 10, p95, 30) for arm, p95 in (("alone", 20), ("shadow", 24))
    ]

    _, goals = shadow.report(samples, 0, 15, 0.1)

    assert [(goal.measured, goal.met) for goal in goals] == [(1.2, False), (0, False)]


def test_smoke_keeps_what_was_asked_for_otherwise() -> None:
    options = command.parse(["swap", "--smoke", "--swaps", "2", "--clients", "1,32"])

    assert (options.what, options.smoke, options.swaps, options.rounds) == (["swap"], True, 2, 1)
    assert (options.clients, options.networks, options.images) == ([1, 32], [320], ["640x480"])


@pytest.fixture
def slow_server() -> Iterator[str]:
    """Answers every request after 50 ms, one at a time."""
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with turn:
                threading.Event().wait(0.05)
            self.send_response(200 if body == b"image" else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_at_a_fixed_rate_waiting_counts(tmp_path: Path, slow_server: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "0").write_bytes(b"image")
    wanted = load(
        tmp_path / "rows.npy", kind="post", target=slow_server, model="/", payload=str(images),
        rate=40.0, clients=4, seconds=1.0,
    )  # fmt: skip

    run(wanted)

    due, seconds, answered = rows(wanted).T
    assert answered.all()
    assert np.diff(np.sort(due)) == pytest.approx(1 / 40, abs=1e-6)
    # Twice as many come as can be answered, so the last ones have waited for long.
    assert seconds.max() > 0.3


def test_failures_are_rows_too(tmp_path: Path, slow_server: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, content in enumerate((b"image", b"no image")):
        (images / str(number)).write_bytes(content)
    wanted = load(
        tmp_path / "rows.npy", kind="post", target=slow_server, model="/", payload=str(images),
        seconds=0.6,
    )  # fmt: skip

    run(wanted)

    assert set(rows(wanted)[:, 2]) == {0.0, 1.0}


def test_a_driver_runs_one_load_after_the_other_and_outlives_a_failure(
    tmp_path: Path, slow_server: str
) -> None:
    images, none = tmp_path / "images", tmp_path / "none"
    for folder, content in ((images, b"image"), (none, b"no image")):
        folder.mkdir()
        (folder / "0").write_bytes(content)
    wanted = load(
        tmp_path / "rows.npy", kind="post", target=slow_server, model="/", payload=str(images),
        seconds=0.3,
    )  # fmt: skip
    driver = Driver()
    try:
        assert len(driver.run(wanted))
        with pytest.raises(Failed, match="400"):
            driver.run(dataclasses.replace(wanted, payload=str(none)))
        assert len(driver.run(dataclasses.replace(wanted, clients=2)))
    finally:
        driver.stop()


def test_several_images_go_into_one_request(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        (images / str(number)).write_bytes(b"%d" % number)
    found = payloads(load(tmp_path / "rows.npy", payload=str(images), images=2))
    assert [shape for _, shape, _ in found] == [[2]] * 3
    content = [data.replace(b"\x01\0\0\0", b"") for data, _, _ in found]
    assert content == [b"01", b"12", b"20"]
