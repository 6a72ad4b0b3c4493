"""Status patches carry what differs, and never what pods report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.kube.status import merge_diff, status_patch, with_stalled, without_stalled

from ..mergepatch import merged

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

JSON = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2) | st.lists(st.integers(0, 2)),
    lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("xyz", min_size=1, max_size=2), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_applying_the_patch_gives_the_new_state(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged(old, merge_diff(old, new)) == new


@given(OBJECTS)
def test_equal_states_need_no_patch(state: dict[str, Any]) -> None:
    assert merge_diff(state, state) == {}


@pytest.mark.parametrize(
    ("status", "wanted", "patch"),
    [
        pytest.param({"phase": "A"}, {"phase": "A"}, {}, id="equal"),
        pytest.param({"phase": "A"}, {"phase": "B"}, {"phase": "B"}, id="changed"),
        pytest.param({"phase": "A", "x": 1}, {"phase": "A"}, {"x": None}, id="removed"),
        pytest.param({"progress": 5}, {"phase": "A"}, {"phase": "A"}, id="reported stays"),
        pytest.param({"progress": 5}, {"progress": 1}, {}, id="reported is not overwritten"),
        pytest.param({"x": 1}, {"x": None}, {"x": None}, id="None removes"),
        pytest.param({}, {"x": None}, {}, id="None of nothing is nothing"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}, id="deep"),
    ],
)
def test_status_patch(status: Any, wanted: Any, patch: Any) -> None:
    assert status_patch({"status": status}, wanted, ("progress",)) == patch


def test_stalled_keeps_other_conditions_and_its_transition_time() -> None:
    ready = {"type": "Ready", "status": "False"}
    obj = {"metadata": {"generation": 2}, "status": {"phase": "X", "conditions": [ready]}}
    first = with_stalled(obj, "InternalError", "m", NOW)
    assert first["phase"] == "X"
    assert [c["type"] for c in first["conditions"]] == ["Ready", "Stalled"]
    later = NOW.replace(hour=9)
    again = with_stalled({**obj, "status": first}, "InternalError", "m", later)
    assert again == first, "telling the same again must not need a write"


def test_without_stalled_only_takes_back_what_the_engine_said() -> None:
    obj = {"metadata": {}, "status": {}}
    stalled = {**obj, "status": with_stalled(obj, "InternalError", "m", NOW)}
    assert without_stalled(stalled, {"InternalError"}) == {"conditions": []}
    assert without_stalled(stalled, {"Other"}) is None
    assert without_stalled(obj, {"InternalError"}) is None
