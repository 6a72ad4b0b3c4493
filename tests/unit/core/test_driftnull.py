"""How many servers must drift at once."""

from __future__ import annotations

import math

import pytest

from modelyard.core.fleet import driftnull
from modelyard.core.fleet.driftnull import probability, threshold


def test_the_thresholds_of_a_fleet_are_those_of_the_design() -> None:
    assert threshold(5000, variation=0) == 87
    assert threshold(5000) == 189
    assert threshold(50, variation=0) == 5
    rate = driftnull.false_alarm_rate(5, 50, 1, 90, variation=0)
    assert rate * 365 == pytest.approx(0.46, abs=0.01)


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("mean", [0.1, 5.0, 60.0])
def test_probabilities_have_their_mean_and_variance(mean: float, variation: float) -> None:
    chances = [probability(n, mean, variation) for n in range(3000)]
    assert sum(chances) == pytest.approx(1, abs=1e-6)
    average = sum(n * p for n, p in enumerate(chances))
    assert average == pytest.approx(mean, rel=1e-4)
    variance = sum((n - average) ** 2 * p for n, p in enumerate(chances))
    assert variance == pytest.approx(mean + (mean * variation) ** 2, rel=1e-3)


@pytest.mark.parametrize("servers", [1, 2, 3, 7, 50, 499, 5000, 20_000])
@pytest.mark.parametrize("variation", [0.0, 0.5])
def test_the_threshold_is_the_smallest_that_keeps_the_rate(servers: int, variation: float) -> None:
    found = threshold(servers, variation=variation)
    times = (driftnull.DAY, 90 * driftnull.DAY, variation)
    bound = 1 / (365 * driftnull.DAY)
    assert driftnull.false_alarm_rate(found, servers, *times) <= bound
    above = math.floor(driftnull.expected(servers, *times[:2])) + 1
    assert found == above or driftnull.false_alarm_rate(found - 1, servers, *times) > bound


def test_larger_fleets_and_longer_holds_need_more_servers() -> None:
    found = [threshold(n) for n in range(1, 400)]
    assert found == sorted(found)
    assert threshold(500, hold=3 * driftnull.DAY) > threshold(500)
    assert threshold(500, min_share=0.2) == 100
    assert threshold(0) == 1
    assert probability(0, 0.0) == 1
    assert probability(1, 0.0) == 0
