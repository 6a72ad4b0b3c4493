"""What a pod answers: exit code and termination message, for each way to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.contract import exitcodes
from modelyard.contract.result import DataResult, Outcome, parse_outcome
from modelyard.contract.run import DataRun
from modelyard.store import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    DigestMismatch,
    StoreError,
    StoreUnavailable,
)
from modelyard.workloads.runner import (
    Context,
    RetryableError,
    UserError,
    execute,
    worker_count,
)

RUN = {
    "kind": "data",
    "object": {"namespace": "default", "name": "digits", "uid": "1"},
    "store": {"url": "file:///tmp/store"},
    "source": {"http": {"url": "https://example.org/digits.zip"}},
    "dataFile": "data.yaml",
    "quality": {},
}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The termination log; the run spec is RUN."""
    run, log = tmp_path / "run.json", tmp_path / "termination-log"
    run.write_text(json.dumps(RUN))
    monkeypatch.setenv("MODELYARD_RUN", str(run))
    monkeypatch.setenv("MODELYARD_TERMINATION_LOG", str(log))
    return log


def run(handler: Callable[[DataRun, Context], Outcome], log: Path) -> tuple[int, Outcome]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = execute(handler, DataRun)
    finally:
        signal.signal(signal.SIGTERM, before)
    outcome = parse_outcome(log.read_text())
    assert outcome is not None
    return code, outcome


def test_a_result_is_the_termination_message(log: Path) -> None:
    def handle(spec: DataRun, context: Context) -> Outcome:
        assert spec.object.name == "digits"
        assert context.workers >= 1
        return Outcome(result=DataResult(valid=True, digest="sha256:1", images=3))

    code, outcome = run(handle, log)
    assert code == exitcodes.OK
    result = outcome.of(DataResult)
    assert result is not None
    assert (outcome.reason, result.images) == ("Succeeded", 3)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (UserError("NoSuchClass", "class 7"), exitcodes.USER_ERROR, "NoSuchClass"),
        (RetryableError("Busy", "later"), exitcodes.RETRYABLE, "Busy"),
        (StoreUnavailable("down"), exitcodes.RETRYABLE, "StoreUnavailable"),
        (BucketMissing("no bucket"), exitcodes.RETRYABLE, "BucketMissing"),
        (AccessDenied("denied"), exitcodes.USER_ERROR, "StoreAccessDenied"),
        (BlobMissing("gone"), exitcodes.USER_ERROR, "ArtifactMissing"),
        (DigestMismatch("differs"), exitcodes.RETRYABLE, "DigestMismatch"),
        (StoreError("odd URL"), exitcodes.USER_ERROR, "StoreMisconfigured"),
        (OSError(28, "No space left on device", "/scratch/x"), exitcodes.RETRYABLE, "NoSpace"),
        (MemoryError(), exitcodes.RETRYABLE, "OutOfMemory"),
        (ZeroDivisionError("division by zero"), exitcodes.INTERNAL, "InternalError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_are_told_apart(error: Exception, code: int, reason: str, log: Path) -> None:
    def handle(_spec: DataRun, _context: Context) -> Outcome:
        raise error

    found, outcome = run(handle, log)
    assert (found, outcome.reason) == (code, reason)
    assert outcome.message
    assert "\n" not in outcome.message


def test_a_bug_shows_its_traceback_in_the_log_only(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(_spec: DataRun, _context: Context) -> Outcome:
        raise KeyError("lost")

    _, outcome = run(handle, log)
    assert "KeyError: 'lost'" in outcome.message
    assert "Traceback" not in outcome.message
    assert "Traceback" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "JSON"),
        ('{"kind": "cook"}', "kind"),
        (json.dumps({**RUN, "extra": 1}), "extra"),
        (json.dumps({**RUN, "quality": {"missingLabels": "Ignore"}}), "missingLabels"),
        (
            '{"kind": "agent", "namespace": "a", "deployment": "b", "modelLine": "c",'
            ' "store": {"url": "file:///x"}}',
            "agent",
        ),
    ],
)
def test_an_unusable_run_spec_is_named(content: str | None, says: str, log: Path) -> None:
    path = Path(os.environ["MODELYARD_RUN"])
    path.unlink() if content is None else path.write_text(content)

    def handle(_spec: DataRun, _context: Context) -> Outcome:
        raise AssertionError("must not run")

    code, outcome = run(handle, log)
    assert (code, outcome.reason) == (exitcodes.INTERNAL, "InvalidRun")
    assert str(path) in outcome.message
    assert says in outcome.message


@pytest.mark.parametrize(("limit", "threads"), [(0.5, 1), (1.0, 1), (1.9, 1), (1e9, None)])
def test_threads_follow_the_cpu_limit(limit: float, threads: int | None) -> None:
    assert worker_count(limit) == (threads or len(os.sched_getaffinity(0)))


PROGRAM = """
import threading, time
from pathlib import Path
from modelyard.contract.result import Outcome
from modelyard.contract.run import DataRun
from modelyard.workloads import runner

def handle(run, context):
    context.on_terminate(lambda: Path("saved").touch())
    context.on_terminate(lambda: 1 / 0)
    try:
        Path("started").touch()
        while True:
            try:
                time.sleep(60)
            except Exception:
                pass
    finally:
        Path("unwound").touch()
        if MODE == "hang":
            time.sleep(60)

runner.UNWIND_SECONDS = 3.0
runner.main(handle, DataRun)
"""


@pytest.mark.parametrize("mode", ["unwind", "hang"])
def test_sigterm_ends_as_retryable(mode: str, log: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-c", f"MODE = {mode!r}\n{PROGRAM}"]
    with subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == exitcodes.RETRYABLE
    outcome = parse_outcome(log.read_text())
    assert outcome is not None
    assert outcome.reason == "Terminated"
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "unwound").exists()
