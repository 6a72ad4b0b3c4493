"""What the sums of many servers say: rates, means and quantiles, and nothing without samples."""

from __future__ import annotations

import pytest

from modelyard.api.modelserver import LATENCY_BOUNDS_MS
from modelyard.core.fleet.figures import (
    Total,
    agreement,
    quantile,
    read_figures,
    read_shadow,
    value,
)

REPORT = {
    "requests": 90,
    "failures": 10,
    "queueMicros": 180_000,
    "boxes": 450,
    "confidenceMillis": 360_000,
    "seconds": 30,
    "latency": [0, 90],
}


def total(*reports: dict[str, object]) -> Total:
    summed = Total()
    for report in reports:
        sums = read_figures(report)
        assert sums is not None
        summed.add(sums)
    return summed


@pytest.mark.parametrize(
    ("metric", "expected", "samples"),
    [
        ("ErrorRate", 0.1, 100),
        ("QueueTime", 2.0, 90),
        ("Throughput", 3.0, 100),
        ("Confidence", 0.8, 450),
        ("DetectionsPerImage", 5.0, 90),
    ],
)
def test_a_figure_over_two_servers_is_that_of_one_like_them(
    metric: str, expected: float, samples: int
) -> None:
    one, of_one = value(metric, total(REPORT))
    two, of_two = value(metric, total(REPORT, REPORT))
    assert (one, two) == pytest.approx((expected, expected))
    assert (of_one, of_two) == (samples, 2 * samples)


@pytest.mark.parametrize(
    "metric",
    ["ErrorRate", "QueueTime", "Throughput", "Confidence", "DetectionsPerImage", "LatencyP95"],
)
def test_without_samples_there_is_no_figure(metric: str) -> None:
    assert value(metric, None) == (None, 0)
    assert value(metric, Total()) == (None, 0)


def test_a_quantile_is_linear_within_its_bucket() -> None:
    low, high = LATENCY_BOUNDS_MS[:2]
    assert value("LatencyP50", total(REPORT))[0] == pytest.approx((low + high) / 2)
    assert quantile([], 0.5) is None


def test_what_is_slower_than_all_bounds_counts_as_the_highest() -> None:
    counts = [0] * len(LATENCY_BOUNDS_MS) + [5]
    assert quantile(counts, 0.5) == LATENCY_BOUNDS_MS[-1]


def test_a_server_that_reports_nothing_adds_nothing() -> None:
    assert read_figures(None) is None
    assert read_shadow({}) is None


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param({"images": 10}, (1.0, 10), id="both answer with nothing"),
        pytest.param(
            {"images": 10, "stableBoxes": 10, "shadowBoxes": 30, "matched": 10},
            (0.5, 10),
            id="boxes that only the candidate has",
        ),
        pytest.param(
            {"images": 5, "failures": 5, "stableBoxes": 5, "shadowBoxes": 5, "matched": 5},
            (0.5, 10),
            id="images that the candidate fails on",
        ),
        pytest.param({"dropped": 3}, (None, 0), id="nothing was compared"),
    ],
)
def test_agreement(figures: dict[str, int], expected: tuple[float | None, int]) -> None:
    sums = read_shadow(figures)
    assert sums is not None
    summed = Total()
    summed.add(sums)
    assert agreement(summed) == expected
    assert agreement(None) == (None, 0)
