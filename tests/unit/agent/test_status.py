"""The status that the agent writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelyard.api.modelserver import (
    LoadedVersion,
    ModelServerStatus,
    ServedPeriod,
    ShadowFigures,
    StagedVersion,
    Traffic,
)
from modelyard.api.modelserver import ModelServerPhase as Phase
from modelyard.serving.switch import SwitchError
from modelyard.store import AccessDenied, BlobMissing, BucketMissing, StoreUnavailable
from modelyard.workloads.agent.artifacts import ManifestError, QuotaError
from modelyard.workloads.agent.failures import TritonCrashedError, failure
from modelyard.workloads.agent.status import (
    NOTHING,
    Beside,
    Reason,
    Report,
    build,
    difference,
)

MORNING = datetime(2026, 1, 2, 8, 0, 0, tzinfo=UTC)
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ONE = LoadedVersion(model_version="m-1", version=1, digest="sha256:1", since="2026-01-02T08:00:00Z")


def report(phase: Phase = Phase.READY, **fields: object) -> Report:
    defaults = {"reason": Reason.SERVING, "message": "m-1 answers", "generation": 1, "loaded": ONE}
    return Report(phase=phase, **{**defaults, **fields})


def written(
    one: Report, before: ModelServerStatus, now: datetime, beside: Beside = NOTHING
) -> ModelServerStatus:
    """The status after the agent wrote, as the API server merges it (RFC 7396)."""
    patch = difference(before, build(one, before, beside, now))
    merged = {**before.model_dump(by_alias=True, mode="json"), **patch}
    return ModelServerStatus.model_validate(merged)


def test_same_report_again_writes_nothing():
    status = written(report(), ModelServerStatus(), MORNING)
    assert difference(status, build(report(), status, NOTHING, NOON)) == {}


def test_traffic_alone_is_no_difference():
    status = written(report(), ModelServerStatus(), MORNING)
    traffic = Traffic(requests=5, failures=0)
    assert difference(status, build(report(), status, Beside(traffic=traffic), NOON)) == {}


def test_transition_time_moves_only_with_the_condition_status():
    first = written(report(), ModelServerStatus(), MORNING)
    loading = report(Phase.LOADING, reason=Reason.LOADING, message="loading m-2", generation=2)
    second = written(loading, first, NOON)
    third = written(report(Phase.FAILED, reason=Reason.LOAD_FAILED, generation=2), second, MORNING)

    times = [s.conditions[0].last_transition_time for s in (first, second, third)]
    assert times == ["2026-01-02T08:00:00Z", "2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z"]
    assert [s.conditions[0].observed_generation for s in (first, second, third)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("one", "types"),
    [
        (report(), ["Ready"]),
        (report(Phase.FETCHING), ["Ready", "Reconciling"]),
        (report(Phase.FAILED, stalled=True), ["Ready", "Stalled"]),
        (report(Phase.FAILED), ["Ready", "Reconciling"]),
    ],
)
def test_kstatus_conditions_are_there_only_while_true(one, types):
    conditions = written(one, ModelServerStatus(), MORNING).conditions
    assert [c.type for c in conditions] == types


def test_what_no_longer_answers_leaves_the_status():
    first = written(report(failures=2), ModelServerStatus(), MORNING)
    gone = report(Phase.LOADING, loaded=None, failures=0)
    patch = difference(first, build(gone, first, NOTHING, NOON))
    assert patch["loaded"] is None
    assert patch["failures"] is None


def test_fields_that_go_are_removed_also_within_objects():
    one = StagedVersion(model_version="m-2", version=2, digest="sha256:2", failure="no space")
    period = ServedPeriod(model_version="m-0", version=0, digest="d", since="s", until="u")
    first = written(report(), ModelServerStatus(), MORNING, Beside(staged=one, history=(period,)))
    fetched = one.model_copy(update={"failure": None})
    patch = difference(first, build(report(), first, Beside(staged=fetched), NOON))
    assert patch["staged"]["failure"] is None
    assert patch["history"] is None
    assert difference(first, build(report(), first, NOTHING, NOON))["staged"] is None


def test_shadows_figures_alone_are_no_difference_unless_their_time_has_come():
    one = ShadowFigures(model_version="m-2", version=2, digest="sha256:2", images=3)
    first = written(report(), ModelServerStatus(), MORNING, Beside(shadow=one))
    more = Beside(shadow=one.model_copy(update={"images": 5}))
    wanted = build(report(), first, more, NOON)
    assert difference(first, wanted) == {}
    assert difference(first, wanted, measured=True)["shadow"]["images"] == 5
    failed = Beside(shadow=one.model_copy(update={"failure": "no memory"}))
    assert difference(first, build(report(), first, failed, NOON))["shadow"]["images"] == 3


def test_long_messages_are_cut():
    status = build(report(message="x" * 5000), ModelServerStatus(), NOTHING, NOON)
    assert len(status.message) == len(status.conditions[0].message) == 1024


@pytest.mark.parametrize(
    ("error", "reason", "passing"),
    [
        (StoreUnavailable("s3://b: no"), Reason.STORE_UNAVAILABLE, True),
        (BucketMissing("s3://b: no"), Reason.BUCKET_MISSING, True),
        (AccessDenied("s3://b: no"), Reason.STORE_ACCESS_DENIED, False),
        (BlobMissing("s3://b: no"), Reason.ARTIFACT_MISSING, False),
        (ManifestError("other file"), Reason.MANIFEST_INVALID, False),
        (SwitchError("write", 2, 1, "a TensorRT engine"), Reason.UNSERVABLE, False),
        (SwitchError("load", 2, 1, "no such operator"), Reason.LOAD_FAILED, False),
        (SwitchError("warm-up", 2, None, "wrong shape"), Reason.WARM_UP_FAILED, False),
        (SwitchError("switch", 2, 1, "refused"), Reason.SWITCH_FAILED, False),
        (TritonCrashedError("ended"), Reason.TRITON_CRASHED, False),
        (QuotaError("9 MB do not fit"), Reason.NO_SPACE, False),
        (OSError(28, "No space left on device"), Reason.NO_SPACE, False),
        (RuntimeError("oops"), Reason.INTERNAL_ERROR, False),
    ],
)
def test_every_error_has_a_reason_and_its_own_words(error, reason, passing):
    found = failure(error)
    assert (found.reason, found.passing) == (reason, passing)
    assert str(error).partition(" (")[0] in found.message
