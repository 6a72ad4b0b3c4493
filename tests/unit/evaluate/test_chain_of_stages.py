"""What becomes of a failure on its way to the stage that reports, and of a result."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract import exitcodes, paths
from modelyard.contract.result import EvaluateResult, Outcome, parse_outcome
from modelyard.contract.run import EvaluateRun, StoreLocation
from modelyard.store import Store, sha256_bytes
from modelyard.workloads import handover
from modelyard.workloads.evaluate import job, judge, judged
from modelyard.workloads.runner import execute, execute_stage

from .test_judged import RESULTS, profile

DIGEST = "sha256:" + "1" * 64


class Pod:
    """Its volumes; each container sees those that the operator mounts (core/stages.py)."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.location = StoreLocation(url=f"file://{folder}/store")
        self.volumes = {name: folder / name for name in ("inputs", "outputs", "judged", "labels")}
        for volume in self.volumes.values():
            volume.mkdir()
        run = {
            "kind": "evaluate",
            "object": {"namespace": "n", "name": "m-1", "uid": "u"},
            "store": self.location.model_dump(by_alias=True, exclude_none=True),
            "weights": {"digest": DIGEST},
            "artifacts": [],
            "datasetDigest": DIGEST,
            "evaluation": {},
        }
        (folder / "run.json").write_text(json.dumps(run))

    def container(self, name: str, *volumes: str) -> None:
        work = self.folder / name
        work.mkdir()
        for volume in volumes:
            (work / volume).symlink_to(self.volumes[volume])
        for variable, path in {
            "RUN": self.folder / "run.json", "WORK": work, "SCRATCH": self.folder / "scratch",
            "TERMINATION_LOG": self.folder / "termination",
        }.items():  # fmt: skip
            self.patch.setenv(f"MODELYARD_{variable}", str(path))

    def judge(self) -> int:
        self.container("judge", "inputs", "outputs", "labels", "judged")
        return execute_stage(judge.handle, EvaluateRun, paths.JUDGED)

    def report(self) -> tuple[int, Outcome]:
        self.container("main", "inputs", "judged")
        code = execute(job.handle, EvaluateRun)
        outcome = parse_outcome((self.folder / "termination").read_text())
        assert outcome is not None
        return code, outcome


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    before, log = signal.getsignal(signal.SIGTERM), logging.getLogger()
    handlers, level = log.handlers[:], log.level
    yield Pod(tmp_path, monkeypatch)
    signal.signal(signal.SIGTERM, before)
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.mark.parametrize("volume", ["inputs", "outputs"])
def test_a_failure_of_an_earlier_stage_is_reported_with_its_words_and_code(
    pod: Pod, volume: str
) -> None:
    handover.leave_failure(
        pod.volumes[volume], reason="GpuUnavailable", message="no GPU", code=exitcodes.RETRYABLE
    )
    assert pod.judge() == 0
    code, outcome = pod.report()
    assert (code, outcome.reason, outcome.message) == (
        exitcodes.RETRYABLE, "GpuUnavailable", "no GPU",
    )  # fmt: skip


def test_a_failure_of_the_judge_itself_is_reported(pod: Pod) -> None:
    """There is no task.json: a bug, as far as the judge can tell."""
    pod.patch.setattr(judge.isolation, "cut_network", lambda: None)
    assert pod.judge() == 0
    code, outcome = pod.report()
    assert (code, outcome.reason) == (exitcodes.INTERNAL, "InternalError")
    assert "task.json" in outcome.message


def test_a_result_is_reported_with_its_profile_published(pod: Pod) -> None:
    judged.leave(pod.volumes["judged"], RESULTS, profile())
    code, outcome = pod.report()
    assert code == 0
    found: Any = outcome.of(EvaluateResult)
    store = Store.open(pod.location)
    assert store.get_bytes(found.profile.digest) == profile().figures
    assert store.get_bytes(found.profile.summary_digest) == profile().text
    assert (found.profile.images, found.profile.embedding) == (5000, 768)
    assert found.evaluations == RESULTS.evaluations


def test_a_result_without_a_profile_needs_no_store(pod: Pod) -> None:
    judged.leave(pod.volumes["judged"], RESULTS, None)
    code, outcome = pod.report()
    assert (code, outcome.of(EvaluateResult)) == (0, RESULTS)
    assert not (pod.folder / "store").exists()


def test_a_profile_that_is_not_what_it_says_is_not_published(pod: Pod) -> None:
    judged.leave(pod.volumes["judged"], RESULTS, profile())
    (pod.volumes["judged"] / judged.FIGURES).write_bytes(b"other")
    code, outcome = pod.report()
    assert (code, outcome.reason) == (exitcodes.USER_ERROR, "UntrustedOutput")
    assert not Store.open(pod.location).exists(sha256_bytes(b"other"))


def test_a_judge_that_left_nothing_is_no_success(pod: Pod) -> None:
    code, outcome = pod.report()
    assert code != 0
    assert outcome.of(EvaluateResult) is None
