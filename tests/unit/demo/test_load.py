"""The demo's request loop counts every request and hides none."""

from __future__ import annotations

import time

from modelyard_local.demo.load import Answer, RequestLoop, figures


class Flaky:
    """Fails every third request, as a server that drops connections."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = False

    def ask(self) -> int:
        self.asked += 1
        if self.asked % 3 == 0:
            raise ConnectionError("reset by peer")
        return 1 if self.asked < 3 else 2

    def close(self) -> None:
        self.closed = True


def test_every_request_is_kept_also_the_failed_ones() -> None:
    made: list[Flaky] = []

    def connect() -> Flaky:
        made.append(Flaky())
        return made[-1]

    loop = RequestLoop([connect])
    loop.start()
    deadline = time.monotonic() + 20
    while len(loop.answers) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    answers = loop.stop()
    summary = figures(answers)
    assert summary["sent"] == len(answers) >= 6
    assert summary["failed"] == len([a for a in answers if a.error]) >= 2
    assert summary["errors"][0]["error"] == "ConnectionError: reset by peer"
    assert all(c.closed for c in made)


def test_figures_are_nearest_rank_percentiles_of_good_answers() -> None:
    answers = [Answer(at=i, seconds=i / 1000, version=1 + i // 60) for i in range(1, 101)]
    answers.append(Answer(at=101, seconds=9.0, version=None, error="timeout"))
    summary = figures(answers)
    assert summary["milliseconds"] == {"p50": 50.0, "p95": 95.0, "max": 100.0}
    assert summary["answeredByVersion"] == {"1": 59, "2": 41}
    assert (summary["sent"], summary["failed"]) == (101, 1)


def test_no_answer_at_all_has_no_percentiles() -> None:
    assert figures([])["milliseconds"] == {"p50": None, "p95": None, "max": None}
