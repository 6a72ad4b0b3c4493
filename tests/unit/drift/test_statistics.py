"""The parts of the statistics, each against what theory or another implementation says."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from modelyard.drift import codec, cusum, days, mmd, pilot
from modelyard.drift.baseline import Baseline as BaselineOf
from modelyard.drift.baseline import (
    How,
    SignalBaseline,
    Unit,
    of_signal,
    seed,
)
from modelyard.drift.blocks import Block, Embedder, Reference, mix_distance
from modelyard.drift.charts import Chart, after_block
from modelyard.drift.observation import Observation, class_counts
from modelyard.drift.series import MAX_BLOCKS, Series
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.signals import Signal
from modelyard.drift.suspicion import apart_from_pool, change_within

RNG = np.random.default_rng


def series(values: np.ndarray, hours: float = 1 / 12) -> Series:
    times = (np.arange(len(values)) + 1) * hours
    return Series(times.astype("<f4").tobytes(), values.astype("<f4").tobytes())


def baseline(values: np.ndarray, *, calendar: bool = False) -> SignalBaseline:
    found = of_signal(
        Signal.TOP_SCORE,
        series(values),
        started=0.0,
        correlation=0.0,
        calendar=calendar,
        key="test",
        steps_per_alarm=200_000,
    )
    assert found is not None
    return found


def test_a_path_is_the_recursion_of_page() -> None:
    steps = RNG(1).normal(-0.3, 1, 500)
    level, expected = 0.0, []
    for step in steps:
        level = max(0.0, level + step)
        expected.append(level)
    assert cusum.path(steps) == pytest.approx(expected)


def test_cycle_maxima_are_those_of_the_stretches_above_zero() -> None:
    found = cusum.cycle_maxima(np.array([0, 1, 3, 0, 0, 2, 0.5, 0, 4.0]))
    assert found.tolist() == [3, 2, 4]
    assert cusum.cycle_maxima(np.zeros(4)).size == 0


def test_the_threshold_of_normal_blocks_is_siegmunds() -> None:
    # Siegmund (1985): ARL = (exp(b) - 1 - b) / (2 k²) with b = 2 k (h + 1.166).
    values = RNG(2).standard_normal(50_000)
    up, down = cusum.calibrate(
        values, mean=0.0, sd=1.0, relative_error=0.0, correlation=0.0, rng=RNG(3)
    )
    k = cusum.allowance(0.0)
    for tail in (up, down):
        b = 2 * k * (tail.threshold(100_000) + 1.166)
        assert (math.exp(b) - 1 - b) / (2 * k**2) == pytest.approx(100_000, rel=0.3)


def test_uncertain_baselines_have_higher_thresholds() -> None:
    values = RNG(2).standard_normal(2000)
    few, many = baseline(values[:100]), baseline(values)
    assert few.allowance > many.allowance
    limits = [one.thresholds(200_000 * 300, 300) for one in (few, many)]
    assert min(limits[0]) + 1 > max(limits[1])


def test_resampling_keeps_variance_and_gives_neighbours_their_correlation() -> None:
    drawn = cusum.resample(RNG(4).standard_normal(5000), 200_000, 0.12, RNG(5))
    assert drawn.std() == pytest.approx(1, abs=0.03)
    assert np.corrcoef(drawn[1:], drawn[:-1])[0, 1] == pytest.approx(0.12, abs=0.02)
    assert np.corrcoef(drawn[2:], drawn[:-2])[0, 1] == pytest.approx(0, abs=0.02)


def test_the_correlation_of_neighbouring_blocks_is_that_of_block_means() -> None:
    rho, length, rng = 0.95, 80, RNG(6)
    images = rng.standard_normal(400_000) * math.sqrt(1 - rho**2)
    for i in range(1, len(images)):
        images[i] += rho * images[i - 1]
    means = images.reshape(-1, length).mean(axis=1)
    seen = np.corrcoef(means[1:], means[:-1])[0, 1]
    assert cusum.neighbours(length, (1 + rho) / (1 - rho)) == pytest.approx(seen, abs=0.03)


def test_the_autocorrelation_time_is_found() -> None:
    rng = RNG(7)
    assert pilot.autocorrelation_time(rng.standard_normal(1000)) < 1.6
    values = rng.standard_normal(4000)
    for i in range(1, len(values)):
        values[i] = 0.7 * values[i - 1] + math.sqrt(1 - 0.49) * values[i]
    assert pilot.autocorrelation_time(values) == pytest.approx(5.67, rel=0.35)
    assert pilot.autocorrelation_time(np.ones(100)) == 1
    assert pilot.autocorrelation_time(np.array([1.0, 2.0])) == 1


def test_days_that_differ_are_charted_by_day() -> None:
    rng = RNG(8)
    blocks = rng.standard_normal(14 * 288)
    assert baseline(blocks, calendar=True).unit is Unit.BLOCK
    different = blocks + np.repeat(0.3 * rng.standard_normal(14), 288)
    found = baseline(different, calendar=True)
    assert found.unit is Unit.DAY
    assert found.values in (14, 15)
    assert found.thresholds(90 * DAY * 16, 300)[0] == pytest.approx(5.5, abs=0.6)
    assert found.allowance == pytest.approx(0.94, abs=0.02)


def test_a_cycle_of_the_day_is_charted_by_day() -> None:
    blocks = RNG(9).standard_normal(14 * 288)
    cycle = 0.6 * np.sin(2 * np.pi * np.arange(len(blocks)) / 288)
    assert baseline(blocks + cycle, calendar=True).unit is Unit.DAY


def test_a_signal_that_never_changes_has_no_chart() -> None:
    constant = of_signal(
        Signal.BRIGHTNESS,
        series(np.full(400, 0.5)),
        started=0.0,
        correlation=0.0,
        calendar=False,
        key="",
        steps_per_alarm=1e5,
    )
    assert constant is None


def test_the_threshold_of_days_grows_smoothly_beyond_what_is_simulated() -> None:
    limits = [days.day_threshold(14, one) for one in (500, 1440, 5000, 50_000, 500_000)]
    assert limits == sorted(limits)
    assert limits[1] == pytest.approx(5.6, abs=0.4)
    assert all(later - before < 15 for before, later in pairwise(limits))


def test_a_day_with_few_blocks_is_not_charted() -> None:
    rng = RNG(8)
    values = rng.standard_normal(14 * 288) + np.repeat(rng.standard_normal(14), 288)
    one, chart = baseline(values, calendar=True), Chart()
    for hour in range(30):
        end = 20 * DAY + (hour + 1) * 3600.0
        charted = after_block(chart, one, 50.0, start=end - 300, end=end, thresholds=(5.0, 5.0))
        chart = charted.chart
    assert chart.up.level == 0


def test_a_change_within_a_baseline_is_suspicious_and_noise_is_not() -> None:
    rng = RNG(10)
    suspicious = [
        change_within(
            Signal.TOP_SCORE,
            series(rng.standard_normal(400)),
            started=0.0,
            key=f"{i}",
            tests=4,
        )
        for i in range(60)
    ]
    assert sum(one is not None for one in suspicious) <= 2
    values = rng.standard_normal(400)
    values[250:] += 1
    found = change_within(Signal.TOP_SCORE, series(values), started=1000.0, key="", tests=4)
    assert found is not None
    assert found.size > 0.5
    assert found.since == pytest.approx(1000 + 250 * 300, abs=12_000)


def test_one_absurd_stretch_does_not_make_a_baseline_suspicious() -> None:
    values = RNG(11).standard_normal(400)
    values[200:210] += 100
    assert change_within(Signal.TOP_SCORE, series(values), started=0.0, key="", tests=4) is None


def test_a_baseline_is_compared_with_its_pool_where_that_has_servers() -> None:
    one = baseline(RNG(12).normal(5, 1, 400))
    whole = BaselineOf("", 0.0, 1.0, 400, How.AUTOMATIC, {Signal.TOP_SCORE: one})
    near, far = [5 + 0.1 * i for i in range(-5, 6)], [1 + 0.1 * i for i in range(-5, 6)]
    assert apart_from_pool(whole, {Signal.TOP_SCORE: near}) is None
    assert apart_from_pool(whole, {Signal.TOP_SCORE: far[:7]}) is None
    found = apart_from_pool(whole, {Signal.TOP_SCORE: far})
    assert found is not None
    assert found.size > 5


def test_the_hellinger_distance_hardly_depends_on_the_number_of_boxes() -> None:
    rng, mix = RNG(13), (0.5, 0.3, 0.2, *(0.0,) * 8)
    means = []
    for boxes in (20, 80, 320):
        drawn = rng.multinomial(boxes, mix, 2000)
        means.append(np.mean([mix_distance(tuple(map(int, row)), mix) for row in drawn]))
    assert means[0] == pytest.approx(means[2], rel=0.1)
    assert mix_distance((0, 0, 0, 40, *(0,) * 7), mix) == pytest.approx(math.sqrt(40))


def test_a_block_needs_its_duration_its_images_and_what_correlation_asks_for() -> None:
    limits = DriftSettings(block_duration=300, block_images=20)
    block = Block(0.0, 0.0)
    for i in range(31):
        block = block.with_image(Observation(10.0 * i, "a", top_score=1.0), None)
        assert block.is_full(limits, 0) == (i == 30)
    assert not block.is_full(limits, 40)
    quick_ones = Block(0.0, 0.0)
    for i in range(19):
        quick_ones = quick_ones.with_image(Observation(100.0 * i, "a"), None)
    assert not quick_ones.is_full(limits, 0)


def test_embeddings_that_spread_differently_are_told_too() -> None:
    rng = RNG(14)
    usual = rng.normal(0, 1, (1000, 32))
    embedder = Embedder.of(usual[:128])
    mean = embedder.features_of(usual).mean(axis=0)
    reference = Reference(features=mean.tobytes())

    def value(scale: float) -> float:
        block = Block(0.0, 0.0)
        for row in rng.normal(0, scale, (200, 32)):
            block = block.with_image(Observation(1.0, "a", projection=tuple(row)), embedder)
        return block.values(reference)[Signal.EMBEDDING]

    assert value(1.6) > 1.5 * value(1.0)


def test_the_discrepancy_of_equal_samples_is_not_significant_and_of_others_is() -> None:
    rng = RNG(15)
    chances = [
        mmd.compare(rng.normal(0, 1, (60, 4)), rng.normal(0, 1, (40, 4)), RNG(i)).probability
        for i in range(40)
    ]
    assert np.mean(np.array(chances) < 0.1) < 0.25
    moved = mmd.compare(rng.normal(0, 1, (60, 4)), rng.normal(1, 1, (40, 4)), RNG(0))
    assert moved.probability <= 1 / 400
    assert moved.squared > 0
    with pytest.raises(ValueError):
        mmd.compare(np.zeros((5, 2)), np.zeros((9, 2)), RNG(0))


def test_the_discrepancy_is_the_textbooks_sum() -> None:
    rng = RNG(16)
    x, y = rng.normal(0, 1, (9, 3)), rng.normal(1, 1, (8, 3))
    both = np.vstack([x, y])
    apart = ((both[:, None] - both[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / (2 * np.median(apart[np.triu_indices(17, 1)])))
    np.fill_diagonal(kernel, 0)
    expected = (
        kernel[:9, :9].sum() / (9 * 8)
        + kernel[9:, 9:].sum() / (8 * 7)
        - 2 * kernel[:9, 9:].sum() / (9 * 8)
    )
    assert mmd.compare(x, y, RNG(0)).squared == pytest.approx(expected)


def test_a_series_keeps_the_newest() -> None:
    kept = Series()
    for i in range(MAX_BLOCKS + 10):
        kept = kept.append(i / 10, float(i))
    assert len(kept) == MAX_BLOCKS
    assert kept.values()[-1] == MAX_BLOCKS + 9
    assert kept.values()[0] == 10


def test_random_numbers_depend_on_their_keys_alone() -> None:
    assert seed("a", 1).random() == seed("a", 1).random()
    assert seed("a", 1).random() != seed("a", 2).random()


def test_classes_are_counted_in_ten_columns_and_other() -> None:
    assert class_counts([0, 0, 9, 10, 80]) == (2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2)
    assert class_counts([7, 3], known=(7,)) == (1, *(0,) * 9, 1)


@pytest.mark.parametrize("value", [float("nan"), {1}, object()], ids=["nan", "set", "object"])
def test_what_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        codec.encode(value)
