"""Figures of the last minute, from counters that only grow."""

from __future__ import annotations

from modelyard.serving.figures import Totals
from modelyard.serving.models import metrics
from modelyard.workloads.agent.window import SETTLE_SECONDS, Window


def totals(requests: int, **more: int) -> Totals:
    latency = [0] * 24
    latency[3] = requests
    values = {"failures": 0, "queue_micros": 10 * requests, "boxes": 2 * requests}
    return Totals(requests=requests, latency=tuple(latency), **{**values, **more})


def test_window_slides():
    window = Window()
    for second in range(0, 121, 5):
        window.add(second, 1, totals(10 * second, failures=second // 10))
    found = window.figures(1, 121)
    assert (found.seconds, found.requests, found.failures) == (60, 600, 6)
    assert found.latency[3] == sum(found.latency) == 600
    assert (found.queue_micros, found.boxes) == (6000, 1200)


def test_one_look_is_not_enough_and_an_old_one_is_none():
    window = Window()
    window.add(0, 1, totals(5))
    window.add(3, 1, totals(6))
    assert window.figures(1, 4) is None
    window.add(6, 1, totals(9))
    assert window.figures(1, 7).requests == 3
    assert window.figures(2, 7) is None
    assert window.figures(1, 30) is None


def test_counters_that_start_anew_start_the_window_anew():
    window = Window()
    window.add(0, 1, totals(400))
    window.add(3, 1, totals(500))
    window.add(6, 1, totals(600))
    window.add(9, 1, totals(2))
    assert window.figures(1, 9) is None
    window.add(12, 1, totals(7))
    assert window.figures(1, 12) is None
    window.add(15, 1, totals(11))
    assert (window.figures(1, 15).requests, window.figures(1, 15).seconds) == (4, 3)


def test_what_a_version_answered_before_it_served_does_not_count_also_if_it_is_told_later():
    window = Window()
    window.add(0, 1, totals(500))
    window.add(3, 2, totals(0))
    # Test images of the warm-up, which the pipeline hands over up to 2 s later.
    window.add(4, 2, totals(40))
    window.add(6, 2, totals(43))
    assert window.figures(2, 6) is None
    window.add(9, 2, totals(45))
    assert window.figures(2, 9).requests == 2


def test_version_that_was_gone_starts_anew():
    window = Window()
    window.add(0, 2, totals(40))
    window.add(3, 2, totals(41))
    window.add(6, 2, None)
    window.add(9, 2, totals(60))
    assert window.figures(2, 9) is None
    window.add(12, 2, totals(61))
    assert window.figures(2, 12).requests == 1


def test_quiet_version_has_figures_of_0():
    window = Window()
    for second in (0, 3, 6):
        window.add(second, 1, totals(5))
    found = window.figures(1, 6)
    assert (found.requests, found.latency, found.seconds) == (0, [], 3)


def test_a_window_begins_after_the_pipeline_has_handed_its_counters_over():
    assert SETTLE_SECONDS > metrics.FLUSH_SECONDS
