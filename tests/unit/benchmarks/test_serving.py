"""Samples and goals of the benchmark of serving, and its load generator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ...benchmarks.serving import __main__ as command
from ...benchmarks.serving import overhead, shadow, swap
from ...benchmarks.serving.load import Load, rows, run


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


def of_arms(**rates: tuple[float, float]) -> list[overhead.Sample]:
    """Two rounds of arms with a rate and a p99."""
    return [
        overhead.Sample(arm.replace("_", "-"), number, rate / number, p99, p99, 0)
        for number in (1, 2)
        for arm, (rate, p99) in rates.items()
    ]


def test_the_better_peer_is_the_one_to_beat() -> None:
    samples = of_arms(
        plain=(100, 10),
        network=(96, 10),
        pipeline_grpc=(80, 12),
        pipeline_http=(70, 14),
        fastapi_onnx=(20, 50),
        fastapi_pt=(35, 28),
    )

    (table,), goals = overhead.report(samples)

    assert [goal.measured for goal in goals] == [0.96, 2, 0.5, 0.5]
    assert all(goal.met for goal in goals)
    assert [row[0] for row in table.rows] == list(overhead.LABELS.values())


def test_a_shadow_that_costs_too_much_or_answers_nothing_misses_the_goal() -> None:
    samples = [
        shadow.Sample(arm, 1, 100, 0, 10, p95, 30) for arm, p95 in (("alone", 20), ("shadow", 24))
    ]

    _, goals = shadow.report(samples, 0, 15, 0.1)

    assert [(goal.measured, goal.met) for goal in goals] == [(1.2, False), (0, False)]


def test_smoke_keeps_what_was_asked_for_otherwise() -> None:
    options = command.parse(["swap", "--smoke", "--swaps", "2"])

    assert (options.what, options.smoke, options.swaps, options.rounds) == (["swap"], True, 2, 1)


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
