"""What answered when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from modelyard.cli import history, rollouthistory, times
from modelyard.cli.errors import CliError

from .rollouts import (
    DIGEST,
    HISTORY,
    NOW,
    at,
    deployment,
    period,
    record,
    rolling,
    server,
    version,
)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


ONE = server(
    loaded=version(4) | {"since": at(1000)},
    reportedAt=at(10),
    history=[period(3, 5000, 1100), period(2, 9000, 5000)],
)


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(900, 4), (20, 4), (1000, 4), (1100.5, 3), (5000, 3), (5001, 2)]
)
def test_what_a_server_answered_with(seconds: float, wanted: int) -> None:
    answer = rollouthistory.served_at(ONE, before(seconds))
    assert answer.period is not None
    assert (answer.period.version, answer.note) == (wanted, "")


def test_after_the_last_report_it_says_so() -> None:
    answer = rollouthistory.served_at(ONE, before(5))
    assert answer.period is not None
    assert answer.period.version == 4
    assert answer.note == "by its last report, of 2026-11-17 09:59:50 UTC"


def test_between_two_versions() -> None:
    answer = rollouthistory.served_at(ONE, before(1050))
    assert answer.period is None
    assert "between two versions, or down" in answer.note


def test_the_record_does_not_go_back_so_far() -> None:
    answer = rollouthistory.served_at(ONE, before(20_000))
    assert answer.period is None
    assert answer.note == "the history begins at 2026-11-17 07:30:00 UTC"
    created = rollouthistory.served_at(ONE, before(3_000_000))
    assert "the server was created at 2026-10-25 06:26:40 UTC" in created.note
    many = [period(20 - i, 2000 + 100 * (i + 1), 2000 + 100 * i) for i in range(10)]
    full = server(loaded=version(21) | {"since": at(1000)}, history=many)
    assert rollouthistory.served_at(full, before(4000)).note.endswith("the last 10 versions")
    assert "has not served any version" in rollouthistory.served_at(server(), NOW).note


def test_a_server_as_a_table() -> None:
    assert list(history.period_lines(ONE)) == [
        "cameras-node-17-0123456789 on node-17",
        "  VERSION  SINCE                    UNTIL                    ARTIFACT",
        f"  shelf-4  2026-11-17 09:43:20 UTC  now                      {DIGEST}",
        f"  shelf-3  2026-11-17 08:36:40 UTC  2026-11-17 09:41:40 UTC  {DIGEST}",
        f"  shelf-2  2026-11-17 07:30:00 UTC  2026-11-17 08:36:40 UTC  {DIGEST}",
    ]


@pytest.mark.parametrize(
    ("seconds", "wanted", "note"),
    [
        (100, 4, "rollout 6 had reached all servers at 2026-11-16 10:00:00 UTC"),
        (88_000, 3, "shelf-4 was being rolled out"),
        (100_000, 3, "rollout 5 had ended (RolledBack)"),
        (200_000, 3, "rollout 4 had reached all servers"),
        (
            900_000,
            None,
            "the history begins with rollout 4 at 2026-11-08 03:46:40 UTC, before which",
        ),
    ],
)
def test_what_was_rolled_out(seconds: float, wanted: int | None, note: str) -> None:
    found, said = rollouthistory.rolled_out_at(
        deployment(phase="Healthy", history=HISTORY), before(seconds)
    )
    assert found == wanted
    assert note in said


def test_while_a_rollout_is_going_on() -> None:
    found, said = rollouthistory.rolled_out_at(rolling(), before(60))
    assert (found, said) == (4, "shelf-5 has been rolling out since 2026-11-17 09:35:50 UTC")


def test_before_the_first_rollout() -> None:
    assert rollouthistory.rolled_out_at(deployment(), NOW) == (4, "its first version")
    made = deployment(history=[record(1, 5, "Succeeded", 9000)])
    made["metadata"]["creationTimestamp"] = at(20_000)
    assert rollouthistory.rolled_out_at(made, before(10_000)) == (
        4,
        "its first version, before rollout 1, which began at 2026-11-17 07:30:00 UTC",
    )
    assert rollouthistory.rolled_out_at(made, before(30_000)) == (
        None,
        "Modelyard Deployment cameras was created at 2026-11-17 04:26:40 UTC",
    )


WEIGHTS, DATA, ENGINE = (f"sha256:{c * 64}" for c in "cde")


def mv(**lineage: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shelf-4", "namespace": "vision"},
        "spec": {
            "modelLine": "shelf",
            "version": 4,
            "weights": {"digest": WEIGHTS},
            "dataset": {"name": "shelf", "digest": DATA},
            "lineage": lineage,
        },
        "status": {"artifacts": [{"name": "onnx", "format": "onnx", "digest": DIGEST}]},
    }


def test_data_code_and_weights() -> None:
    made = mv(
        trainingJob={"name": "november", "uid": "u"},
        baseVersion="shelf-3",
        initialWeightsDigest=ENGINE,
        trainerImage="example.com/trainer:1",
    )
    job = {"metadata": {}, "spec": {}, "status": {"datasetDigest": ENGINE}}
    assert rollouthistory.lineage(made, job, "shelf-4", DIGEST) == {
        "format": "onnx (onnx)",
        "weights": WEIGHTS,
        "trained on": ENGINE,
        "evaluated on": f"shelf {DATA}",
        "training": "TrainingJob november",
        "code": "example.com/trainer:1",
        "fine-tuned from": "shelf-3",
        "started from": ENGINE,
    }
    without = rollouthistory.lineage(made, None, "shelf-4", DIGEST)
    assert without["training"] == "TrainingJob november, which no longer exists"
    assert rollouthistory.trained_by(made) == ("november", "u")
    assert rollouthistory.trained_by(mv()) is None


def test_a_version_that_is_gone_or_was_made_anew() -> None:
    gone = rollouthistory.lineage(None, None, "shelf-4", DIGEST)
    assert gone == {"version": "ModelVersion shelf-4 no longer exists"}
    anew = rollouthistory.lineage(mv(), None, "shelf-4", ENGINE)
    assert anew == {"version": "ModelVersion shelf-4 was recreated since, with other artifacts"}


def test_an_answer_as_text() -> None:
    one = {
        "title": "cameras-node-17 on node-17",
        "at": before(3000).isoformat(),
        "answer": {
            "model_version": "shelf-3",
            "version": 3,
            "digest": DIGEST,
            "since": at(5000),
            "until": at(1100),
        },
        "note": "",
        "lineage": {"weights": WEIGHTS},
    }
    assert list(history.answer_lines(one)) == [
        "cameras-node-17 on node-17 at 2026-11-17 09:10:00 UTC: shelf-3",
        "  answered  2026-11-17 08:36:40 UTC to 2026-11-17 09:41:40 UTC",
        f"  artifact  {DIGEST}",
        f"  weights   {WEIGHTS}",
    ]
    unknown = one | {"answer": None, "lineage": {}, "note": "the history begins later"}
    assert list(history.answer_lines(unknown)) == [
        "cameras-node-17 on node-17 at 2026-11-17 09:10:00 UTC: not known",
        "  note  the history begins later",
    ]


def test_rollouts_as_a_table() -> None:
    assert list(history.record_lines(HISTORY))[:5] == [
        "NO.  VERSION  BEFORE  OUTCOME     STARTED                  TOOK   SERVERS",
        "6    shelf-4  3       Succeeded   2026-11-16 09:00:00 UTC  1h00m  4,990",
        "     shelf-4 is the highest Ready version",
        "5    shelf-4  3       RolledBack  2026-11-15 05:13:20 UTC  1h00m  0",
        "     shelf-4 is the highest Ready version; errors 0.08 (must be ≤ 0.01)",
    ]


def test_rollouts_say_who_did_what() -> None:
    asked = [{"action": "promote", "by": "ada", "at": "2026-11-17T09:00:00Z"}, {"action": "abort"}]
    one = HISTORY[1] | {"trigger": "spec.version pins version 4", "by": "bob", "actions": asked}
    note = list(history.record_lines([one]))[2]
    assert note == (
        "     spec.version pins version 4, by bob; promote by ada 2026-11-17 09:00:00 UTC, abort; "
        "errors 0.08 (must be ≤ 0.01)"
    )


def test_times_as_people_write_them() -> None:
    nine = datetime(2026, 11, 17, 9, tzinfo=UTC)
    assert times.parse_user_time("2026-11-17T09:00") == nine
    assert times.parse_user_time("2026-11-17 10:00+01:00") == nine
    assert times.parse_user_time("2026-11-17T09:00:00Z") == nine
    assert times.parse_user_time("2026-11-17T10:00", timezone(timedelta(hours=1))) == nine
    assert times.parse_user_time("2026-11-17").hour == 0
    with pytest.raises(CliError, match="'last tuesday' is not a time: write 2026-11-17T10:00"):
        times.parse_user_time("last tuesday")


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (-3, "0s"),
        (42, "42s"),
        (60, "1m"),
        (200, "3m20s"),
        (7500, "2h05m"),
        (86_400, "1d"),
        (100_000, "1d3h"),
    ],
)
def test_lengths_of_time(seconds: float, wanted: str) -> None:
    assert times.span(seconds) == wanted
