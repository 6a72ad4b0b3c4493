"""The benchmark of drift: its streams are what they say, its arrays do what the reducer does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from modelyard.core.fleet import driftnull
from modelyard.drift import cusum
from modelyard.drift.baseline import Unit, of_signal
from modelyard.drift.charts import Chart, after_block
from modelyard.drift.series import Series
from modelyard.drift.signals import Signal

from ...benchmarks.drift import __main__ as command
from ...benchmarks.drift import blocks, days, fleet, null, peers, servers


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.95])
def test_drawn_blocks_are_means_of_correlated_images(rho: float) -> None:
    rng = np.random.default_rng(1)
    length = np.full(400, 30)
    drawn = blocks.draw(rng, rho, length, 60)
    images = blocks.images(rng, rho, 30 * 60, 400)
    means = images.reshape(60, 30, 400).mean(axis=1)
    assert drawn.std() == pytest.approx(means.std(), rel=0.05)

    def neighbours(values: np.ndarray) -> float:
        return float(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1])

    assert neighbours(drawn) == pytest.approx(neighbours(means), abs=0.03)


def test_many_servers_at_once_alarm_when_the_products_charts_do() -> None:
    rng = np.random.default_rng(2)
    base, later = rng.standard_normal((200, 6)), 0.4 + rng.standard_normal((300, 6))
    charts = servers.calibrate(base, np.zeros(6), seconds_per_alarm=300 * 500)
    first = servers.first_alarm(charts, later[:0], later)
    assert np.isfinite(first).sum() >= 4
    hours = (np.arange(200) + 1) / 12
    for stream in range(6):
        packed = Series(hours.astype("<f4").tobytes(), base[:, stream].astype("<f4").tobytes())
        one = of_signal(
            Signal.TOP_SCORE,
            packed,
            started=0.0,
            correlation=0.0,
            calendar=False,
            key=f"server {stream}",
            steps_per_alarm=500,
        )
        assert one is not None
        assert one.unit is Unit.BLOCK
        chart, limits = Chart(), one.thresholds(300 * 500, 300)
        found = math.inf
        for number, value in enumerate(later[:, stream], 1):
            charted = after_block(chart, one, float(value), start=0.0, end=1.0, thresholds=limits)
            chart = charted.chart
            if charted.crossing:
                found = number
                break
        assert first[stream] == found


def test_the_naive_chart_alarms_far_more_often_than_ours() -> None:
    naive, ours = (
        null._cell(0.95, length, plain, 3, seed=1, days=20)
        for length, plain in ((null.NAIVE, True), (400, False))
    )
    assert naive.ratio > 5 > ours.ratio
    assert set(ours.delays) == set(null.SHIFTS)
    (naive_goal, *ours_goals) = null._goals([naive, ours])
    assert naive_goal.met
    assert len(ours_goals) == 2


def test_days_that_differ_alarm_a_flat_chart() -> None:
    samples, _, goals = days.measure(3, 1, lambda line: None)
    effect = samples[1]
    assert effect["by_day"] == 1
    assert effect["flat"] > effect["alarmed"]
    assert len(goals) == 3


def test_the_played_fleet_crosses_as_often_as_the_formula_says() -> None:
    rng = np.random.default_rng(3)
    one = fleet.play(50, common=False, years=400, rng=rng)
    assert one.threshold == driftnull.threshold(50, variation=0)
    assert one.crossings == pytest.approx(one.predicted, rel=0.35)
    assert one.episodes <= one.crossings


def test_crossings_of_a_fleet_are_counted_by_hand() -> None:
    times = np.array([1.0, 1.1, 1.2, 5.0, 5.9, 5.95, 6.3])
    # Three at once from 1.2 to 2.0, and from 5.95 to 6.0, again from 6.3 to 6.9.
    assert fleet._crossings(times, 3) == (3, 2)


def test_a_peer_gets_the_most_sensitive_threshold_that_alarms_no_more_often() -> None:
    calls = []

    def alarms(baseline: np.ndarray, values: np.ndarray, threshold: float) -> list[int]:
        calls.append(threshold)
        return list(np.flatnonzero(values > threshold))

    peer = peers.Peer("level", (1.0, 2.0, 3.0, 4.0), alarms)
    rng = np.random.default_rng(4)
    base, calm = rng.standard_normal((2, 4, 5000))
    watched = rng.standard_normal((4, peers.CALM + peers.SHIFTED))
    found = peers._peer(peer, 0.0, 20.0, base, calm, watched)
    assert found.threshold == 3.0
    assert found.false_alarms <= 20
    assert found.delays[1.0][0] < found.delays[0.5][0]
    assert 4.0 not in calls


def test_river_and_the_windows_find_a_large_shift() -> None:
    rng = np.random.default_rng(5)
    base, values = rng.standard_normal(2000), rng.standard_normal(2000)
    values[1000:] += 3
    for peer in peers.PEERS:
        middle = peer.thresholds[len(peer.thresholds) // 4]
        found = [i for i in peer.alarms(base, values, middle) if i >= 1000]
        assert found, peer.name


def test_psi_of_equal_distributions_is_small() -> None:
    rng = np.random.default_rng(6)
    base = rng.standard_normal(8000)
    assert peers._psi(base, rng.standard_normal(500)) < 0.1
    assert peers._psi(base, 1 + rng.standard_normal(500)) > 0.5


def test_all_parts_are_named_and_a_smoke_run_is_small() -> None:
    options = command.parse(["--smoke"])
    assert options.servers < 10
    assert set(command.SUITE.titles) == {"null", "days", "fleet", "images", "peers"}


def test_the_rate_of_ours_is_that_of_the_charts_thresholds() -> None:
    rng = np.random.default_rng(7)
    base = rng.standard_normal((5000, 40))
    charts = servers.calibrate(base, np.zeros(40), seconds_per_alarm=300 * 2000)
    count = servers.alarms(charts, rng.standard_normal((4000, 40)))
    # Two sides, one alarm of each in 2,000 blocks.
    assert count.mean() == pytest.approx(4, rel=0.3)
    flat = replace(charts, up=charts.up / 2, down=charts.down / 2)
    assert servers.alarms(flat, rng.standard_normal((4000, 40))).mean() > 20
    assert cusum.ALLOWANCE < charts.allowance.min() < 0.6
