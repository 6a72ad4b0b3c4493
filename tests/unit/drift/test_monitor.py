"""What a server reports of its sources, image by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelyard.drift import monitor
from modelyard.drift.bridging import Pair
from modelyard.drift.findings import Change, Kind
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.profile import Profile
from modelyard.drift.settings import DAY
from modelyard.drift.signals import Signal

from .streams import MIX, QUICK, START, Camera, Played, calibrated, other_layout, quick


def drifting(played: Played) -> set[Signal | None]:
    return {one.signal for one in played.findings(Kind.DRIFTING)}


def test_a_source_is_uncalibrated_until_it_has_a_baseline() -> None:
    played = Played().feed(Camera().take(400))
    (finding,) = played.findings(Kind.UNCALIBRATED)
    assert "of 60 blocks" in finding.detail
    assert not monitor.is_calibrated(played.state)

    played = calibrated(Camera())
    assert monitor.is_calibrated(played.state)
    # Without days it never knows what days and weeks look like, and says so.
    (finding,) = played.findings(Kind.UNCALIBRATED)
    assert finding.detail == "not calibrated for day and week"


def test_an_unchanged_camera_does_not_drift() -> None:
    camera = Camera()
    played = calibrated(camera).feed(camera.take(3000))
    assert not drifting(played)


CHANGES = {
    Signal.TOP_SCORE: ("top", 1.0),
    Signal.DETECTIONS: ("boxes", 6.5),
    Signal.CLASS_MIX: ("mix", MIX[[3, 2, 1, 0, *range(4, 11)]]),
    Signal.EMBEDDING: ("embedding", 0.5),
}


@pytest.mark.parametrize("signal", CHANGES, ids=str)
def test_a_change_is_found_with_its_signal_its_size_and_its_time(signal: Signal) -> None:
    camera = Camera()
    played = calibrated(camera).feed(camera.take(500))
    name, value = CHANGES[signal]
    setattr(camera, name, value)
    changed = camera.time

    played.feed(camera.take(600))

    assert drifting(played) == {signal}
    (finding,) = played.findings(Kind.DRIFTING)
    assert abs(finding.size) > 1
    assert finding.since == pytest.approx(changed, abs=150)
    assert finding.since <= finding.first <= finding.last
    assert finding.artifact == "sha256:1"
    raised = [e for e in played.events if e.change is Change.RAISED and e.finding == finding]
    assert monitor.is_drifting(played.state)
    assert len(raised) <= 1


def test_drift_lasts_for_its_hold_after_the_change_is_over() -> None:
    camera = Camera()
    played = calibrated(camera)
    camera.top = 1.0
    played.feed(camera.take(400))
    camera.top = 2.0
    last = played.findings(Kind.DRIFTING)[0].last
    played.feed(camera.take(300))
    assert drifting(played) == {Signal.TOP_SCORE}

    played.feed(camera.take(700))

    assert not drifting(played)
    cleared = [e for e in played.events if e.change is Change.CLEARED and e.finding]
    (event,) = [e for e in cleared if e.finding and e.finding.kind is Kind.DRIFTING]
    assert event.time >= last + QUICK.hold


def test_an_explaining_signal_says_why_and_never_alarms() -> None:
    camera = Camera()
    played = calibrated(camera)
    camera.brightness = 0.5
    played.feed(camera.take(600))
    assert not drifting(played)

    camera.top = 1.0
    played.feed(camera.take(400))

    (finding,) = played.findings(Kind.DRIFTING)
    assert Signal.BRIGHTNESS in {reason.signal for reason in finding.reasons}


def test_a_signal_of_the_pixels_can_be_charted() -> None:
    settings = quick(signals=(Signal.BRIGHTNESS,))
    camera = Camera()
    played = calibrated(camera, settings)
    camera.brightness = 0.5
    played.feed(camera.take(400))
    assert drifting(played) == {Signal.BRIGHTNESS}


def test_blank_images_are_left_out_and_make_a_dark_camera_not_drift() -> None:
    camera = Camera()
    played = calibrated(camera)
    camera.blank, camera.top, camera.boxes = True, -9.0, 0.0
    played.feed(camera.take(1000))

    assert {one.kind for one in monitor.findings(played.state)} == {
        Kind.CAMERA_DARK,
        Kind.UNCALIBRATED,
    }

    camera.blank, camera.top, camera.boxes = False, 2.0, 4.0
    played.feed(camera.take(600))
    assert not played.findings(Kind.CAMERA_DARK)


def test_a_camera_that_is_always_dark_at_that_hour_is_not_dark() -> None:
    settings = quick(baseline_blocks=30)
    camera = Camera(settings=settings)
    played = Played(settings)
    # Most images while the baseline is taken are blank: this hour is usually closed.
    for _ in range(20):
        camera.blank = False
        played.feed(camera.take(30))
        camera.blank = True
        played.feed(camera.take(60))
    assert played.state.sources["north"].pixels.baseline is not None
    before = len(played.events)
    played.feed(camera.take(600))
    assert not any(e.finding and e.finding.kind is Kind.CAMERA_DARK for e in played.events[before:])


def test_a_turned_camera_has_moved_and_needs_a_person() -> None:
    camera = Camera()
    played = calibrated(camera)
    played.feed(camera.take(26 * 120))
    assert not played.findings(Kind.CAMERA_MOVED)
    camera.layout = other_layout()
    played.feed(camera.take(5 * 120))

    (finding,) = played.findings(Kind.CAMERA_MOVED)
    assert finding.size < 0.85
    assert not drifting(played)

    played.state = monitor.accept(played.state, "north", QUICK)
    assert not played.findings(Kind.CAMERA_MOVED)


def test_a_silent_source_has_too_few_requests() -> None:
    camera = Camera()
    played = calibrated(camera)
    played.tick(100)
    assert not played.findings(Kind.TOO_FEW_REQUESTS)
    played.tick(3000)
    assert played.findings(Kind.TOO_FEW_REQUESTS)
    played.feed([replace(one, time=played.state.now + i) for i, one in enumerate(camera.take(30))])
    assert not played.findings(Kind.TOO_FEW_REQUESTS)


def test_a_baseline_that_changed_while_it_was_taken_waits_for_a_person() -> None:
    camera = Camera(settings=QUICK)
    played = Played().feed(camera.take(450))
    camera.top = 0.5
    played.feed(camera.take(400))

    (finding,) = played.findings(Kind.BASELINE_SUSPICIOUS)
    assert finding.signal is Signal.TOP_SCORE
    assert "while the baseline was taken" in finding.detail
    assert not monitor.is_calibrated(played.state)

    accepted = monitor.accept(played.state, None, QUICK)
    assert monitor.is_calibrated(accepted)
    assert not any(f.kind is Kind.BASELINE_SUSPICIOUS for f in monitor.findings(accepted))

    # Nobody comes: the next baseline, in which nothing changes, is taken.
    played.feed(camera.take(800))
    assert monitor.is_calibrated(played.state)
    assert not played.findings(Kind.BASELINE_SUSPICIOUS)


def test_a_baseline_far_from_the_pool_is_suspicious() -> None:
    camera, state = Camera(), monitor.initial()
    pool = {Signal.TOP_SCORE: [5.0, 5.1, 4.9, 5.2, 4.8, 5.0, 5.1, 4.9, 5.0]}
    for image in camera.take(900):
        state, _ = monitor.step(state, image, QUICK, pool=pool)
    kinds = {one.kind: one for one in monitor.findings(state)}
    assert "pool" in kinds[Kind.BASELINE_SUSPICIOUS].detail


def test_charts_are_held_while_the_clock_is_not_synchronised() -> None:
    camera = Camera()
    played = calibrated(camera)
    before = played.state.sources
    played.tick(1, synchronised=False)
    assert played.findings(Kind.CLOCK_UNSYNCHRONISED)
    camera.top = -3.0
    played.feed(camera.take(500))
    assert played.state.sources["north"].model == before["north"].model

    camera.top = 2.0
    played.tick(1)
    assert not played.findings(Kind.CLOCK_UNSYNCHRONISED)
    played.feed(camera.take(300))
    assert not drifting(played)


def test_sources_beyond_the_maximum_are_named_and_cost_nothing() -> None:
    settings = quick(sources=2)
    played = Played(settings)
    for n in range(50):
        played.feed(Camera(f"camera-{n}", settings=settings).take(3))
    assert set(played.state.sources) == {"camera-0", "camera-1"}
    (finding,) = played.findings(Kind.TOO_MANY_SOURCES)
    assert "more than 2" in finding.detail
    assert len(played.state.ignored) <= monitor.NAMED


def test_a_source_that_left_long_ago_makes_place() -> None:
    settings = quick(sources=1)
    played = Played(settings).feed(Camera("old", settings=settings).take(3))
    played.tick(31 * DAY)
    late = Camera("new", settings=settings)
    late.time = played.state.now
    played.feed(late.take(3))
    assert set(played.state.sources) == {"new"}
    assert {one.source for one in monitor.findings(played.state)} == {"new"}


def test_a_rollback_finds_its_own_baseline() -> None:
    camera = Camera()
    played = calibrated(camera)
    first = played.state.sources["north"].model.baseline
    camera.artifact, camera.top = "sha256:2", 5.0
    played.feed(camera.take(100))
    assert played.state.sources["north"].model.baseline is None
    assert played.state.sources["north"].pixels.baseline is not None

    camera.artifact, camera.top = "sha256:1", 2.0
    played.feed(camera.take(300))
    assert played.state.sources["north"].model.baseline == first
    assert not drifting(played)


def _pairs(camera: Camera, count: int, better: float) -> list[Pair]:
    return [
        Pair(one, replace(one, artifact="sha256:2", top_score=(one.top_score or 0) + better))
        for one in camera.take(count)
    ]


def test_a_rollout_bridges_the_baseline_so_that_a_change_is_not_hidden_in_a_new_one() -> None:
    camera = Camera()
    played = calibrated(camera)
    old = played.state.sources["north"].model.baseline
    assert old is not None
    played.state = monitor.bridge(played.state, _pairs(camera, 250, better=1.5))
    camera.artifact, camera.top = "sha256:2", 3.5
    played.feed(camera.take(300))

    new = played.state.sources["north"].model.baseline
    assert new is not None
    moved = new.signals[Signal.TOP_SCORE].mean - old.signals[Signal.TOP_SCORE].mean
    assert moved == pytest.approx(1.5, abs=0.05)
    assert Signal.EMBEDDING not in new.signals
    assert not drifting(played)

    camera.top = 2.5
    played.feed(camera.take(500))
    assert drifting(played) == {Signal.TOP_SCORE}


def test_embedding_is_taken_anew_after_a_bridged_rollout() -> None:
    camera = Camera()
    played = calibrated(camera)
    played.state = monitor.bridge(played.state, _pairs(camera, 250, better=0.0))
    camera.artifact = "sha256:2"
    played.feed(camera.take(1100))
    line = played.state.sources["north"].model
    assert line.baseline is not None
    assert Signal.EMBEDDING in line.baseline.signals
    camera.embedding = 0.6
    played.feed(camera.take(500))
    assert drifting(played) == {Signal.EMBEDDING}


def test_too_few_pairs_bridge_nothing() -> None:
    camera = Camera()
    played = calibrated(camera)
    before = played.state
    assert monitor.bridge(before, _pairs(camera, 199, better=1.0)) == before


def test_a_baseline_that_walked_away_from_the_anchor_is_told() -> None:
    camera = Camera()
    played = calibrated(camera)
    camera.brightness = 0.5
    played.state = monitor.reset(played.state, "north", QUICK)
    assert not monitor.is_calibrated(played.state)
    played.feed(camera.take(1500))

    (finding,) = played.findings(Kind.SITE_CHANGED)
    assert finding.signal is Signal.BRIGHTNESS
    assert finding.size > 3

    played.state = monitor.accept(played.state, "north", QUICK)
    assert not played.findings(Kind.SITE_CHANGED)
    played.feed(camera.take(1500))
    assert not played.findings(Kind.SITE_CHANGED)


def test_a_site_unlike_the_holdout_is_another_finding_than_drift() -> None:
    profile = Profile({Signal.BRIGHTNESS: (0.6, 0.9), Signal.TOP_SCORE: (-1.0, 5.0)})
    camera, state = Camera(), monitor.initial()
    for image in camera.take(300):
        state, _ = monitor.step(state, image, QUICK, profile)
    kinds = {one.kind: one for one in monitor.findings(state)}
    assert kinds[Kind.NOT_LIKE_HOLDOUT].signal is Signal.BRIGHTNESS
    assert kinds[Kind.NOT_LIKE_HOLDOUT].size > 0.9
    assert Kind.DRIFTING not in kinds


def test_embeddings_far_from_the_holdout_are_unlike_it() -> None:
    profile = Profile({}, centre=(3.0,) * 32, scale=(1.0,) * 32, radius=53.5)
    camera, state = Camera(), monitor.initial()
    for image in camera.take(300):
        state, _ = monitor.step(state, image, QUICK, profile)
    (found,) = [f for f in monitor.findings(state) if f.kind is Kind.NOT_LIKE_HOLDOUT]
    assert found.signal is Signal.EMBEDDING


def test_without_embeddings_the_other_signals_are_charted() -> None:
    camera = Camera()
    played = Played()
    for image in camera.take(1000):
        played.feed([replace(image, projection=())])
    baseline = played.state.sources["north"].model.baseline
    assert baseline is not None
    assert Signal.EMBEDDING not in baseline.signals
    assert Signal.TOP_SCORE in baseline.signals


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_score": float("nan")},
        {"brightness": float("inf")},
        {"classes": ()},
        {"projection": (1.0,) * 7},
        {"projection": (float("nan"),) * 32},
        {"layout": (float("nan"),) * 64},
        {"box_area": None},
    ],
    ids=str,
)
def test_a_figure_that_is_no_number_harms_nothing_else(wrong: dict[str, object]) -> None:
    camera = Camera()
    played = Played()
    for image in camera.take(900):
        played.feed([replace(image, **wrong)])  # type: ignore[arg-type]
    played.restart()
    baseline = played.state.sources["north"].model.baseline
    assert baseline is not None
    assert np.isfinite(baseline.signals[Signal.DETECTIONS].mean)


def test_the_chart_of_a_signal_is_within_its_threshold_until_it_alarms() -> None:
    camera = Camera()
    played = calibrated(camera)
    played.feed(camera.take(300))
    points = monitor.chart(played.state, "north", Signal.TOP_SCORE)
    assert points
    assert all(point.level <= 1 for point in points)
    camera.top = 1.0
    played.feed(camera.take(300))
    points = monitor.chart(played.state, "north", Signal.TOP_SCORE)
    assert points[-1].level > 1
    assert points[-1].value < -1
    assert not monitor.chart(played.state, "unknown", Signal.TOP_SCORE)


@pytest.mark.parametrize("damage", [{}, {"format": 2, "state": {}}, {"format": 1, "state": {}}, 3])
def test_a_foreign_state_is_refused(damage: object) -> None:
    with pytest.raises(monitor.UnknownFormat):
        monitor.from_json(damage)  # type: ignore[arg-type]


def test_ticks_alone_do_nothing() -> None:
    state, events = monitor.step(monitor.initial(), Tick(START), QUICK)
    assert not events
    assert not monitor.findings(state)
    assert isinstance(next(Camera().take(1)), Observation)
