"""When drift makes a report of its own: a fleet of thousands writes these."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.modelserver import LoadedVersion, ModelServerPhase, ModelServerStatus
from modelyard.api.monitoring import DriftStatus, FindingKind
from modelyard.workloads.agent.monitoring.summary import Facts, Found, summarise
from modelyard.workloads.agent.status import Beside, Reason, Report, build, difference

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
LOADED = LoadedVersion(
    model_version="m-1", version=1, digest="sha256:1", since="2026-01-02T08:00:00Z"
)
REPORT = Report(ModelServerPhase.READY, Reason.SERVING, "m-1 answers", 1, LOADED)
DRIFT = Found(FindingKind.DRIFT, 1e9, "hall", "TopScore", -3.2)
CALM = summarise([], Facts("sha256:1", 2, 1), {})
DRIFTING = summarise([DRIFT], Facts("sha256:1", 2, 1), {})
MORE = summarise([], Facts("sha256:2", 3, 2), {})


def patch(
    before: DriftStatus | None, after: DriftStatus | None, *, measured: bool = False
) -> dict[str, Any]:
    seen = build(REPORT, ModelServerStatus(), Beside(drift=before), NOON)
    return difference(seen, build(REPORT, seen, Beside(drift=after), NOON), measured=measured)


@pytest.mark.parametrize("after", [MORE, summarise([Found(FindingKind.NO_SOURCE, 1)], Facts(), {})])
def test_what_can_wait_goes_along_with_the_next_report(after):
    assert patch(CALM, after) == {}
    assert patch(CALM, after, measured=True).keys() == {"drift"}


def test_nothing_is_written_while_nothing_changes():
    assert patch(CALM, CALM, measured=True) == {}
    assert patch(None, None, measured=True) == {}


def test_drift_is_told_when_it_begins_and_when_it_ends():
    begins = patch(CALM, DRIFTING)["drift"]
    assert (begins["state"], begins["findings"][0]["source"]) == ("Drifting", "hall")

    ends = patch(DRIFTING, CALM)["drift"]
    assert ends["state"] == "Stable"
    assert ends["findings"] is ends["alarmSince"] is None, "a merge patch would keep them"


def test_what_is_not_looked_for_any_more_goes():
    assert patch(CALM, None, measured=True) == {"drift": None}
    assert patch(DRIFTING, None) == {"drift": None}
