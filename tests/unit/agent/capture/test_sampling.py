"""Which images are captured: uniform over time, within budgets, whatever the load and the kills."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from modelyard.api.monitoring import ServerCapture
from modelyard.contract.capture import CaptureReason
from modelyard.workloads.agent.capture.strata import DAY_MS, Span

from .played import MIDNIGHT, WITHOUT, Site, jpeg, offered

SAMPLE_SECONDS = 10
FRAMES = 30


def chi_square_p(counts: np.ndarray) -> float:
    """p of the hypothesis that counts are equally likely, by the Wilson-Hilferty approximation of
    the chi-square distribution (PNAS 17, 1931)."""
    from math import erfc, sqrt

    expected = counts.sum() / len(counts)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = len(counts) - 1
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / sqrt(2 / (9 * freedom))
    return erfc(z / sqrt(2)) / 2


def kept_times(days: int, chance: random.Random, per_day: int) -> list[float]:
    """Times of the frames that random capture keeps of a stream of 30 a second: the pipeline draws
    one frame of each interval, and the span's smallest key wins."""
    best: dict[Span, tuple[int, float]] = {}
    for interval in range(days * 86_400 // SAMPLE_SECONDS):
        frame = chance.randrange(SAMPLE_SECONDS * FRAMES) / FRAMES
        time = MIDNIGHT + interval * SAMPLE_SECONDS + frame
        span, key = Span.at(time, per_day), chance.getrandbits(64)
        if span not in best or key < best[span][0]:
            best[span] = (key, time)
    return [time for _, time in best.values()]


@pytest.mark.parametrize("per_day", [8, 24, 48])
def test_random_captures_of_a_stream_are_uniform_over_the_day(per_day: int) -> None:
    times = np.array(kept_times(40, random.Random(1), per_day))
    assert len(times) == 40 * per_day
    counts, _ = np.histogram((times - MIDNIGHT) % 86_400, bins=96, range=(0, 86_400))
    assert chi_square_p(counts) > 0.01


def test_a_fixed_share_of_the_stream_would_be_spent_at_night() -> None:
    """What the strata are for: the same test must fail without them."""
    chance = random.Random(1)
    times = []
    for _ in range(40):
        day = [at for at in np.arange(0, 86_400, 1 / FRAMES * 100) if chance.random() < 0.1]
        times += day[:200]
    counts, _ = np.histogram(times, bins=96, range=(0, 86_400))
    assert chi_square_p(counts) < 1e-6


@pytest.mark.parametrize("per_day", [1, 7, 24, 1000, 86_400_000])
def test_spans_cover_the_day_without_gap(per_day: int) -> None:
    moment, seen = MIDNIGHT * 1000, 0
    while moment < MIDNIGHT * 1000 + DAY_MS and seen < 2000:
        span = Span.at(moment / 1000, per_day)
        assert span.start == moment
        moment, seen = span.end, seen + 1
    assert seen == min(per_day, 2000)


async def test_one_random_image_of_each_hour_is_kept_with_its_weight(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for minute in range(0, 24 * 60, 20):
        await site.sample(MIDNIGHT + 60 * minute)
        await site.capturer.tend()
    await site.pass_to(MIDNIGHT + 2 * 86_400)
    found = site.intake.captures(CaptureReason.RANDOM)
    starts = [one.record.inclusion.stratum_start for one in found if one.record.inclusion]
    assert len(starts) == len(set(starts)) == 24
    # Three samples an hour, each of 300 requests.
    assert {one.record.inclusion.weight for one in found if one.record.inclusion} == {900.0}


async def test_equal_images_are_random_captures_all_the_same(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for hour in range(24):
        await site.sample(MIDNIGHT + 3600 * hour + 5, image=jpeg(0))
    await site.pass_to(MIDNIGHT + 3 * 86_400)
    assert len(site.intake.captures(CaptureReason.RANDOM)) == 24


async def test_a_killed_agent_goes_on_with_the_span_that_it_was_in(tmp_path: Path) -> None:
    """The kept sample is the one with the smallest number, over all lives of the agent."""
    site = Site(tmp_path)
    keys = []
    site.capturer._chance = lambda: keys[-1]  # type: ignore[method-assign]
    chance = random.Random(3)
    for second in range(0, 3600, 200):
        site.restart()
        keys.append(chance.getrandbits(64))
        site.capturer._chance = lambda: keys[-1]  # type: ignore[method-assign]
        await site.sample(MIDNIGHT + second)
    [kept] = site.spooled()
    first = keys.index(min(keys))
    assert kept.record.time.endswith(f"{first * 200 // 60:02d}:{first * 200 % 60:02d}.000Z")


async def test_the_most_doubtful_image_of_a_span_is_kept(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(random=0, uncertain=8, drifting=0, redact=WITHOUT)
    for at, score in enumerate((0.9, 0.7, 0.52, 0.6, 0.95)):
        scores = np.array([score], np.float32)
        await site.sample(MIDNIGHT + at, scores=scores, image=jpeg(at))
    [kept] = site.spooled()
    assert kept.record.answer.scores == [0.52]


async def test_images_without_boxes_count_by_their_best_raw_score(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(random=0, uncertain=8, drifting=0, redact=WITHOUT)
    empty = {"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0, np.float32)}
    await site.sample(classes=np.zeros(0, np.int32), top_score=-6.0, **empty)
    assert site.spooled() == []
    await site.sample(classes=np.zeros(0, np.int32), top_score=0.1, **empty)
    assert len(site.spooled()) == 1


async def test_while_drifting_images_are_kept_and_sent_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(random=0, uncertain=0, drifting=24, redact=WITHOUT)
    await site.sample(MIDNIGHT, image=jpeg(1))
    assert site.spooled() == []
    await site.sample(MIDNIGHT + 60, drifting=True, image=jpeg(2))
    await site.pass_to(MIDNIGHT + 3600)
    [one] = site.intake.captures()
    assert one.record.reason is CaptureReason.DRIFTING


async def test_a_drifting_scene_that_stays_the_same_is_kept_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(random=0, uncertain=0, drifting=24, redact=WITHOUT)
    for hour in range(5):
        for minute in range(3):
            await site.sample(MIDNIGHT + 3600 * hour + minute, drifting=True, image=jpeg(4))
        await site.pass_to(MIDNIGHT + 3600 * (hour + 1))
    [one] = site.intake.captures()
    assert one.record.multiplicity > 1


async def test_images_on_demand_are_the_next_ones_and_each_request_is_met_once(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(
        random=0, uncertain=0, drifting=0, redact=WITHOUT, on_demand="3/ab"
    )
    for second in range(10):
        await site.sample(MIDNIGHT + second)
        if second == 1:
            site.restart()
    await site.capturer.tend()
    found = site.intake.captures(CaptureReason.ON_DEMAND)
    assert [one.record.request for one in found] == ["ab"] * 3
    status = site.capturer.status
    assert status is not None
    assert (status.on_demand, status.stored) == ("3/ab", 3)


async def test_budgets_of_zero_capture_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(random=0, uncertain=0, drifting=0, redact=WITHOUT)
    doubtful = np.array([0.5], np.float32)
    await site.sample(drifting=True, scores=doubtful)
    site.settings = None
    await site.sample(drifting=True, scores=doubtful)
    assert site.spooled() == []
    assert site.capturer.status is None


async def test_another_version_than_the_one_that_serves_is_left_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.sample(version=2)
    assert site.spooled() == []


async def test_offers_never_wait(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for second in range(50):
        await site.capturer.offer(offered(MIDNIGHT + second), drifting=False)
