"""What pods answer: the JSON that operators of any release read."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.dataset import ClassStatus
from modelyard.api.evaluation import ArtifactEvaluation, VersionProfile
from modelyard.api.modelversion import ModelVersionSpec
from modelyard.contract.result import (
    MAX_BYTES,
    DataResult,
    EvaluateResult,
    Outcome,
    TrainResult,
    parse_outcome,
)
from modelyard.contract.run import AgentRun, BaseRun, Run
from modelyard.workloads.data.problems import Problems

RUNS = [one for one in get_args(get_args(Run)[0]) if one is not AgentRun]
DIGEST = "sha256:" + "1" * 64
TRAINED = TrainResult(weights_digest=DIGEST, metrics={"mAP50": 0.5}, epochs=3, imgsz=64)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_each_run_names_its_result(run: type[BaseRun]) -> None:
    assert run.result.run == run.model_fields["kind"].default


def test_a_result_goes_under_the_kind_of_its_run() -> None:
    text = Outcome(result=TRAINED).termination_message()
    wanted = {
        "weightsDigest": DIGEST,
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


def test_an_evaluation_of_as_many_artifacts_as_there_can_be_keeps_its_figures_and_profile() -> None:
    figures = dict.fromkeys(("mAP50", "mAP50to95", "precision", "recall"), 0.123456789012345)
    rows = [
        ArtifactEvaluation(
            artifact=f"{i:02}" + "x" * 18, images=100_000, metrics=figures,
            milliseconds_per_image=123.456,
        )
        for i in range(17)
    ]  # fmt: skip
    profile = VersionProfile(
        digest="sha256:" + "a" * 64, summary_digest="sha256:" + "b" * 64, images=5000, embedding=768
    )
    result = EvaluateResult(evaluations=rows, profile=profile)
    text = Outcome(result=result).termination_message()
    assert len(text.encode()) <= MAX_BYTES
    kept = parse_outcome(text).of(EvaluateResult)
    assert kept.profile == profile
    assert kept.evaluations[16].metrics["recall"] == pytest.approx(0.123457, abs=1e-6)


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


ANY_TEXT = st.builds(
    lambda text, times: text * times,
    st.text(st.characters() | st.characters(categories=["Cs"]), max_size=20),
    st.integers(1, 200),
)
"""Any text, with lone surrogates as they stand for bytes of a file name that are no UTF-8."""


@given(
    message=ANY_TEXT,
    problems=st.lists(ANY_TEXT, max_size=12),
    names=st.lists(ANY_TEXT, max_size=8),
)
def test_a_result_survives_any_text(message: str, problems: list[str], names: list[str]) -> None:
    result = DataResult(
        valid=False,
        problems=problems,
        problem_count=len(problems),
        classes=[ClassStatus(id=i, name=name, boxes=i) for i, name in enumerate(names)],
        class_count=len(names),
    )
    text = Outcome(reason="ProblemsFound", message=message, result=result).termination_message()
    assert len(text.encode()) <= MAX_BYTES
    found = parse_outcome(text)
    assert found is not None
    kept = found.of(DataResult)
    assert kept is not None
    assert (kept.problem_count, kept.class_count) == (len(problems), len(names))
    assert bool(kept.problems) == bool(problems)
    assert bool(found.message) == bool(message)


@pytest.mark.parametrize(
    "letter",
    ["a", "щ", "数", "😀", '"', "\x1b", "\udcff", chr(0xD800)],
    ids=["ascii", "two bytes", "three", "four", "quote", "control", "byte", "surrogate"],
)
def test_a_message_of_one_letter_fits_and_is_read(letter: str) -> None:
    text = Outcome(reason="SourceUnreadable", message=letter * 2000).termination_message()
    assert len(text.encode()) <= MAX_BYTES
    found = parse_outcome(text)
    assert found is not None
    assert found.reason == "SourceUnreadable"
    assert len(found.message) >= 400
    assert found.message.isprintable()


def test_a_problem_deep_in_a_folder_still_says_what_is_wrong() -> None:
    problems = Problems()
    problems.add("数据集/" * 200 + "照片.jpg", "is a GIF, not a JPEG")
    result = DataResult(valid=False, problems=problems.first * 10, problem_count=10)
    found = parse_outcome(Outcome(message="数" * 2000, result=result).termination_message())
    assert found is not None
    kept = found.of(DataResult)
    assert kept is not None
    assert kept.problems[0].startswith("数据集/")
    assert kept.problems[0].endswith("照片.jpg: is a GIF, not a JPEG")


def test_as_many_evaluations_as_a_version_may_have_fit() -> None:
    most = next(
        m for m in ModelVersionSpec.model_fields["exports"].metadata if hasattr(m, "max_length")
    )
    figures = dict.fromkeys(("mAP50", "mAP50to95", "precision", "recall"), 1 / 7)
    evaluations = [
        ArtifactEvaluation(
            artifact=f"{i:02}{'a' * 61}",
            images=100_000,
            metrics=figures,
            milliseconds_per_image=100 / 7,
        )
        for i in range(most.max_length + 1)
    ]
    text = Outcome(result=EvaluateResult(evaluations=evaluations)).termination_message()
    assert len(text.encode()) <= MAX_BYTES
    found = parse_outcome(text)
    assert found is not None
    kept = found.of(EvaluateResult)
    assert kept is not None
    assert [one.artifact for one in kept.evaluations] == [one.artifact for one in evaluations]
    assert kept.evaluations[0].metrics["mAP50"] == pytest.approx(1 / 7, abs=1e-6)
