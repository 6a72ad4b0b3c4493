"""What the judge leaves, and what the stage with credentials takes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.contract.result import EvaluateResult
from modelyard.store import sha256_bytes
from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate import judged
from modelyard.workloads.evaluate.judged import FIGURES, RESULT, SUMMARY, Profile

from ..contract.test_profile import summary

RESULTS = EvaluateResult(
    evaluations=[ArtifactEvaluation(artifact="onnx", images=3, metrics={"mAP50": 0.5})]
)


def profile() -> Profile:
    figures = b"PK figures"
    made = summary(profile=sha256_bytes(figures))
    return Profile(made, made.dump(), figures)


def test_what_is_left_is_taken(tmp_path: Path) -> None:
    judged.leave(tmp_path, RESULTS, profile())
    assert judged.take(tmp_path) == (RESULTS, profile())


def test_an_evaluation_without_a_profile_is_one(tmp_path: Path) -> None:
    judged.leave(tmp_path, RESULTS, None)
    assert judged.take(tmp_path) == (RESULTS, None)


def link(folder: Path) -> None:
    (folder / FIGURES).unlink()
    (folder / FIGURES).symlink_to("/etc/passwd")


def endless(folder: Path) -> None:
    with (folder / FIGURES).open("wb") as file:
        file.truncate(2**40)


def pipe(folder: Path) -> None:
    (folder / SUMMARY).unlink()
    os.mkfifo(folder / SUMMARY)


def other_figures(folder: Path) -> None:
    (folder / FIGURES).write_bytes(b"PK others")


def no_summary(folder: Path) -> None:
    (folder / SUMMARY).write_bytes(b"{}")


def no_result(folder: Path) -> None:
    (folder / RESULT).write_bytes(b'{"evaluations": 3}')


def nothing(folder: Path) -> None:
    (folder / RESULT).unlink()


@pytest.mark.parametrize(
    "change", [link, endless, pipe, other_figures, no_summary, no_result, nothing]
)
def test_what_the_judge_would_not_leave_is_not_published(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    judged.leave(tmp_path, RESULTS, profile())
    change(tmp_path)
    with pytest.raises(UserError) as refused:
        judged.take(tmp_path)
    assert refused.value.reason == "UntrustedOutput"
