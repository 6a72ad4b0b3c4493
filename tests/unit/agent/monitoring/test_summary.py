"""ModelServer.status.drift: never above 1 kB, unchanged while nothing happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.monitoring import DriftState, DriftStatus, FindingKind
from modelyard.drift import findings as statistics
from modelyard.drift.signals import Signal
from modelyard.workloads.agent.monitoring.summary import (
    MAX_BYTES,
    ORDER,
    Facts,
    Found,
    found,
    is_urgent,
    size_of,
    summarise,
)

NOON = 1_800_000_000.0
FACTS = Facts(artifact=f"sha256:{'a' * 64}", sources=2, calibrated=2)
DRIFT = Found(FindingKind.DRIFT, NOON, "hall", "TopScore", -3.2, ("Brightness -2.1",))


def test_every_finding_of_the_statistics_and_of_the_api_has_a_place():
    assert set(ORDER) == set(FindingKind)
    for kind in statistics.Kind:
        assert found(statistics.Finding(kind)) is not None, kind


def test_a_finding_of_the_statistics_is_told_with_its_reasons():
    reasons = tuple(
        statistics.Reason(signal, size)
        for signal, size in [(Signal.BRIGHTNESS, -2.14), (Signal.SHARPNESS, 1.0)]
    )
    one = statistics.Finding(
        statistics.Kind.DRIFTING, "hall", since=NOON - 60, first=NOON, signal=Signal.TOP_SCORE,
        size=-3.21, reasons=reasons,
    )  # fmt: skip

    status = summarise([found(one)], FACTS, {})

    assert status.state == DriftState.DRIFTING
    (told,) = status.findings
    assert (told.kind, told.source, told.signal, told.size) == ("Drift", "hall", "TopScore", -3.2)
    assert told.because == ["Brightness -2.1", "Sharpness +1.0"]
    assert told.since == status.alarm_since == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(), DriftState.UNKNOWN),
        (Facts(sources=1), DriftState.CALIBRATING),
        (Facts(sources=2, calibrated=1), DriftState.STABLE),
        (Facts(sources=2, calibrated=2, synchronised=False), DriftState.UNKNOWN),
    ],
)
def test_the_state_claims_no_more_than_is_known(facts, state):
    assert summarise([], facts, {}).state == state


NAMES = st.text(st.characters(codec="utf-8"), max_size=64)
REQUESTS = st.none() | st.text("a@:.9-", min_size=1, max_size=64)


@given(
    st.lists(
        st.builds(
            Found,
            kind=st.sampled_from(FindingKind),
            since=st.floats(0, 4e9),
            source=NAMES,
            signal=st.sampled_from(["", *Signal]),
            size=st.none() | st.floats(-1e6, 1e6).map(lambda x: round(x, 1)),
            because=st.lists(st.text(max_size=48), max_size=3).map(tuple),
        ),
        max_size=40,
    ),
    REQUESTS,
    REQUESTS,
)
def test_the_status_fits_whatever_sources_are_called(all_found, accepted, reset):
    facts = Facts(f"sha256:{'f' * 64}", 64, 64, accepted, reset)
    status = summarise(all_found, facts, {})

    assert size_of(status) <= MAX_BYTES
    shown = len(status.findings or ())
    assert shown + (status.more or 0) == len(all_found)
    assert shown or not all_found


def test_the_worst_case_tells_the_first_finding_and_counts_the_others():
    worst = [
        Found(FindingKind.DRIFT, NOON + i, "\U0001f4f7" * 64, "DetectionsPerImage", -123456.7,
              ("\U0001f4f7" * 48,) * 3)
        for i in range(64)
    ]  # fmt: skip
    status = summarise(worst, Facts(f"sha256:{'f' * 64}", 64, 64, "a" * 64, "b" * 64), {})

    assert size_of(status) <= MAX_BYTES
    assert status.findings[0].source == "\U0001f4f7" * 64
    assert status.more == 63


def test_a_figure_that_moves_changes_nothing_until_the_finding_ends():
    reported: dict = {}
    first = summarise([DRIFT], FACTS, reported)
    moved = Found(FindingKind.DRIFT, NOON, "hall", "TopScore", -9.9, ("Contrast +4.0",))
    again = summarise([moved], FACTS, reported)
    assert again == first

    summarise([], FACTS, reported)
    assert summarise([moved], FACTS, reported).findings[0].size == -9.9


def test_what_was_reported_survives_json():
    reported: dict = {}
    first = summarise([DRIFT], FACTS, reported)
    restarted = json.loads(json.dumps(reported))

    assert summarise([Found(*[*vars(DRIFT).values()][:4])], FACTS, restarted) == first


def _status(*found: Found, **facts: object) -> DriftStatus:
    return summarise(found, Facts(**{**vars(FACTS), **facts}), {})


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [
        (None, _status(), False),
        (_status(), None, False),
        (_status(), _status(DRIFT), True),
        (_status(DRIFT), _status(), True),
        (_status(DRIFT), _status(DRIFT, sources=3), False),
        (_status(calibrated=0), _status(), False),
        (_status(), _status(artifact="sha256:b"), False),
        (_status(), _status(Found(FindingKind.NO_SOURCE, NOON)), False),
        (_status(), _status(accepted="all@1"), True),
        (_status(), _status(reset="all@1"), True),
    ],
)
def test_only_what_somebody_waits_for_makes_a_report_of_its_own(before, after, urgent):
    assert is_urgent(before, after) is urgent
