"""What holds for any stream: restarts, the order of sources, blanks, and memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.drift import monitor
from modelyard.drift.findings import Change, Event, Kind
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.settings import DriftSettings
from modelyard.drift.signals import CLASSES

from .streams import START, Camera, Played, calibrated, quick

pytestmark = pytest.mark.hypothesis if hasattr(pytest.mark, "hypothesis") else ()

TINY = quick(
    sample=1.0, block_duration=2.0, block_images=2, baseline_blocks=16, hold=60.0, sources=3
)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

figures = st.floats(-20, 20) | st.none() | st.sampled_from([float("nan"), float("inf")])
images = st.builds(
    Observation,
    time=st.just(0.0),
    source=st.sampled_from(["a", "b", "c", "d", "x" * 100]),
    artifact=st.sampled_from(["sha256:1", "sha256:2"]),
    top_score=figures,
    detections=st.integers(0, 300),
    classes=st.lists(st.integers(0, 50), min_size=CLASSES, max_size=CLASSES).map(tuple),
    box_area=figures,
    brightness=figures,
    blank=st.booleans(),
    projection=st.just(()) | st.floats(-3, 3).map(lambda v: (v,) * 32),
    layout=st.just(()) | st.floats(0, 1).map(lambda v: (v, 1.0) * 8),
)
gaps = st.sampled_from([0.5, 1.0, 1.0, 1.0, 30.0, -2.0, 4000.0, -200.0])
events = st.lists(
    st.tuples(gaps, images | st.booleans().map(lambda ok: Tick(0.0, ok))), max_size=60
)


def timed(drawn: list[tuple[float, Observation | Tick]]) -> list[Observation | Tick]:
    now, found = START, []
    for gap, event in drawn:
        now += gap
        found.append(replace(event, time=now))
    return found


def through_json(state: monitor.State) -> monitor.State:
    return monitor.from_json(json.loads(json.dumps(monitor.to_json(state), allow_nan=False)))


def play(
    state: monitor.State, stream: list[Observation | Tick], limits: DriftSettings, restart: int = 0
) -> tuple[monitor.State, list[Event]]:
    found: list[Event] = []
    for number, event in enumerate(stream, 1):
        state, more = monitor.step(state, event, limits)
        found += more
        if restart and number % restart == 0:
            state = through_json(state)
    return state, found


@SLOW
@given(events, st.integers(1, 7))
def test_a_restart_at_any_point_changes_nothing(
    drawn: list[tuple[float, Observation | Tick]], every: int
) -> None:
    stream = timed(drawn)
    state, found = play(monitor.initial(), stream, TINY)
    again, other = play(monitor.initial(), stream, TINY, restart=every)
    assert other == found
    assert again == state


@SLOW
@given(events)
def test_no_stream_makes_it_fail_and_findings_agree_with_transitions(
    drawn: list[tuple[float, Observation | Tick]],
) -> None:
    state, found = play(monitor.initial(), timed(drawn), TINY)
    held = set()
    for event in found:
        if event.change is Change.RAISED and event.finding:
            assert event.finding.key not in held
            held.add(event.finding.key)
        if event.change is Change.CLEARED and event.finding:
            held.remove(event.finding.key)
    assert held == {one.key for one in monitor.findings(state)}


@pytest.fixture(scope="module")
def watched() -> tuple[Camera, Played]:
    """A camera with a baseline, and its monitor."""
    camera = Camera(settings=TINY)
    return camera, calibrated(camera, TINY)


@settings(SLOW, max_examples=10)
@given(st.integers(0, 10_000), st.floats(0, 4), st.integers(1, 40))
def test_a_restart_of_a_calibrated_monitor_gives_the_same_alarms(
    watched: tuple[Camera, Played], seed: int, shift: float, every: int
) -> None:
    old, played = watched
    camera = Camera(seed=seed, settings=TINY)
    camera.time, camera.top = old.time, 2.0 - shift
    stream = list(camera.take(120))
    state, found = play(played.state, stream, TINY)
    again, other = play(played.state, stream, TINY, restart=every)
    assert other == found
    assert again == state


@settings(SLOW, max_examples=6)
@given(st.randoms(use_true_random=False), st.integers(0, 100))
def test_the_order_of_sources_does_not_matter(random, seed: int) -> None:  # type: ignore[no-untyped-def]
    cameras = [Camera(name, seed + n, TINY) for n, name in enumerate("abc")]
    moments = [list(images) for images in zip(*(one.take(110) for one in cameras), strict=True)]
    orders = []
    for shuffled in (False, True):
        stream: list[Observation | Tick] = []
        for images_of_moment in moments:
            chosen = list(images_of_moment)
            # The first moment makes the sources known in one order.
            if shuffled and stream:
                random.shuffle(chosen)
            stream += chosen
        state, found = play(monitor.initial(), stream, TINY)
        orders.append((state.sources, sorted(map(repr, found)), set(monitor.findings(state))))
    assert orders[0] == orders[1]


@SLOW
@given(
    st.lists(
        st.tuples(st.floats(-12, 12), st.integers(0, 300), st.floats(0, 1)),
        min_size=1,
        max_size=300,
    )
)
def test_blank_images_alone_never_alarm_and_are_never_charted(
    watched: tuple[Camera, Played], blanks: list[tuple[float, int, float]]
) -> None:
    camera, played = watched
    stream = [
        Observation(
            camera.time + i + 1,
            "north",
            "sha256:1",
            top_score=top,
            detections=boxes,
            brightness=light,
            blank=True,
        )
        for i, (top, boxes, light) in enumerate(blanks)
    ]
    state, found = play(played.state, list(stream), TINY)
    assert not any(one.change in (Change.ALARM, Change.BLOCK) for one in found)
    assert state.sources["north"].model == played.state.sources["north"].model
    assert not any(one.kind is Kind.DRIFTING for one in monitor.findings(state))


def test_memory_is_bounded_whatever_comes() -> None:
    limits = replace(TINY, baseline_days=5.0, sources=2)
    cameras = [Camera(f"camera-{n}", n, limits) for n in range(4)]
    state, sizes = monitor.initial(), []
    for round_ in range(4):
        for camera in cameras:
            # Versions come and go, and time jumps.
            camera.artifact = f"sha256:{round_}"
            camera.time += 3600
            state, _ = play(state, list(camera.take(500)), limits)
        sizes.append(len(json.dumps(monitor.to_json(state))))
    assert len(state.sources) == 2
    assert sizes[-1] < 2 * 400_000
    assert sizes[-1] < 1.2 * max(sizes[:-1]) + 10_000
    for source in state.sources.values():
        assert len(source.model.kept) <= 3
