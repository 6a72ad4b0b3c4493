"""What pods answer: the JSON that operators of any release read."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from modelyard.api.dataset import ClassStatus
from modelyard.contract.result import (
    MAX_BYTES,
    DataResult,
    Outcome,
    TrainResult,
    parse_outcome,
)
from modelyard.contract.run import AgentRun, BaseRun, Run

RUNS = [one for one in get_args(get_args(Run)[0]) if one is not AgentRun]
TRAINED = TrainResult(
    weights_digest="sha256:" + "1" * 64, metrics={"mAP50": 0.5}, epochs=3, imgsz=64
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_each_run_names_its_result(run: type[BaseRun]) -> None:
    assert run.result.run == run.model_fields["kind"].default


def test_a_result_goes_under_the_kind_of_its_run() -> None:
    text = Outcome(result=TRAINED).termination_message()
    wanted = {
        "weightsDigest": "sha256:" + "1" * 64,
        "metrics": {"mAP50": 0.5},
        "epochs": 3,
        "imgsz": 64,
    }
    assert json.loads(text) == {"reason": "Succeeded", "message": "", "train": wanted}
    found = parse_outcome(text)
    assert found is not None
    assert found.of(TrainResult) == TRAINED
    assert found.of(DataResult) is None


def test_a_failure_has_no_result() -> None:
    text = Outcome(reason="OutOfMemory", message="m").termination_message()
    assert json.loads(text) == {"reason": "OutOfMemory", "message": "m"}
    found = parse_outcome(text)
    assert found is not None
    assert found.result is None


@pytest.mark.parametrize("text", [None, "", "Killed", '{"train": {"epochs": "many"}}'])
def test_what_is_not_ours_is_nothing(text: str | None) -> None:
    assert parse_outcome(text) is None


def test_a_result_of_a_later_release_is_left_out() -> None:
    found = parse_outcome('{"reason": "Succeeded", "later": {"a": 1}}')
    assert found == Outcome()


def test_a_long_result_shrinks_until_it_fits() -> None:
    result = DataResult(
        valid=False,
        problems=["ä" * 500] * 40,
        problem_count=40,
        classes=[ClassStatus(id=i, name="ö" * 90, boxes=i) for i in range(200)],
    )
    text = Outcome(message="x" * 5000, result=result).termination_message()
    assert len(text.encode()) <= MAX_BYTES
    found = parse_outcome(text)
    assert found is not None
    kept = found.of(DataResult)
    assert kept is not None
    assert kept.problem_count == 40
    assert kept.problems[0].startswith("ä" * 100)
    assert len(result.problems) == 40  # the pod's own is whole
