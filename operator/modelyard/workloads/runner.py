"""Runs a workload: reads the run spec, calls the handler, writes the Outcome, sets the exit code.

A workload is a handler `(run, context) -> Outcome`:

    def handle(run: DataRun, context: Context) -> Outcome: ...

    if __name__ == "__main__":
        main(handle, DataRun)

A pod with several stages (core/stages.py) calls `main_stage` in all but the last one: it ends with
code 0 and leaves a failure in its volume (handover.py), for the last stage alone reports.

Raised errors become the Outcome's reason and message, and one of contract.exitcodes: a UserError
fails the Job at once, a RetryableError is tried again. SIGTERM runs the callbacks registered with
`context.on_terminate`, then unwinds the handler with Terminated and exits as retryable.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from pydantic import ValidationError

from modelyard.contract import exitcodes, paths
from modelyard.contract.result import Outcome
from modelyard.contract.run import AgentRun, BaseRun, parse_run
from modelyard.store.errors import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    DigestMismatch,
    StoreError,
    StoreUnavailable,
)
from modelyard.workloads import handover
from modelyard.workloads.errors import RetryableError, StageFailed, Terminated, UserError

__all__ = [
    "Context",
    "RetryableError",
    "Terminated",
    "UserError",
    "classify",
    "execute",
    "main",
    "main_stage",
]

TERMINATION_LOG_ENV = "MODELYARD_TERMINATION_LOG"
"""Path of the termination log, in place of paths.TERMINATION_LOG."""
SCRATCH_ENV = "MODELYARD_SCRATCH"
"""Writable directory, in place of paths.SCRATCH."""
WORK_ENV = "MODELYARD_WORK"
"""Where the volumes between stages are, in place of paths.WORK."""
SOURCE_ENV = "MODELYARD_SOURCE"
"""Where a Dataset's claim is mounted, in place of paths.SOURCE."""

UNWIND_SECONDS = 20.0
"""How long a handler may take to unwind after SIGTERM: less than a pod's usual 30 s of grace."""

AnyRun = TypeVar("AnyRun", bound=BaseRun | AgentRun)

log = logging.getLogger("modelyard")


class Context:
    """What a handler gets in addition to its run spec."""

    def __init__(self, run: BaseRun | AgentRun) -> None:
        self.run = run
        self.scratch = _path(SCRATCH_ENV, paths.SCRATCH)
        """A writable directory, empty when the pod starts."""
        self.work = _path(WORK_ENV, paths.WORK)
        """Where the volumes between stages are mounted."""
        self.source = _path(SOURCE_ENV, paths.SOURCE)
        """Where a Dataset's claim is mounted."""
        self.workers = worker_count(run.cpu_limit)
        """Threads to use: the CPU limit rounded down, at least 1."""
        self.terminating = threading.Event()
        """Set once SIGTERM has arrived."""
        self._callbacks: list[Callable[[], None]] = []

    def on_terminate(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, in the main thread, when SIGTERM arrives; it must be quick.

        Afterwards Terminated is raised wherever the main thread is.
        """
        self._callbacks.append(callback)

    def terminate(self) -> None:
        """Run the callbacks; one that fails does not keep the others from running."""
        self.terminating.set()
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("a callback for SIGTERM failed")


def worker_count(cpu_limit: float | None) -> int:
    """Threads for a CPU limit, or for the CPUs that this process may run on if there is none."""
    cpus = len(os.sched_getaffinity(0))
    return max(1, min(cpus, int(cpu_limit))) if cpu_limit else cpus


def main(handler: Callable[[AnyRun, Context], Outcome], run_type: type[AnyRun]) -> NoReturn:
    """Run a workload and exit."""
    sys.exit(execute(handler, run_type))


def main_stage(
    handler: Callable[[AnyRun, Context], None], run_type: type[AnyRun], volume: str
) -> NoReturn:
    """Run one stage of a pod that is not its last, and exit; `volume` is the one it writes."""
    sys.exit(execute_stage(handler, run_type, volume))


def execute_stage(
    handler: Callable[[AnyRun, Context], None], run_type: type[AnyRun], volume: str
) -> int:
    """Run one stage of a pod that is not its last; returns its exit code.

    A failure is left in the volume; then the stages after it do nothing, and the last one reports
    it. Only a stage that was asked to stop ends with another code than 0.
    """
    log_to_stdout()
    work = _path(WORK_ENV, paths.WORK)
    if handover.failed(work / paths.INPUTS):
        log.info("an earlier stage failed: nothing to do")
        return exitcodes.OK

    def handle(run: AnyRun, context: Context) -> Outcome:
        handler(run, context)
        return Outcome()

    outcome, code = _outcome(handle, run_type, last=False)
    if code == exitcodes.OK or outcome.reason == "Terminated":
        return code
    log.error("%s%s", outcome.reason, _tail(outcome.message))
    handover.leave_failure(work / volume, reason=outcome.reason, message=outcome.message, code=code)
    return exitcodes.OK


def execute(handler: Callable[[AnyRun, Context], Outcome], run_type: type[AnyRun]) -> int:
    """Run a workload; returns its exit code, with the Outcome in the termination log."""
    log_to_stdout()
    outcome, code = _outcome(handler, run_type, last=True)
    # From here on a late SIGTERM must not tear the message.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _finish(outcome, code)
    return code


def classify(error: BaseException) -> tuple[Outcome, int]:
    """The Outcome and exit code of a failure."""
    if isinstance(error, Terminated):
        message = "the pod was asked to stop (SIGTERM) before it was done"
        return Outcome(reason="Terminated", message=message), exitcodes.RETRYABLE
    if isinstance(error, UserError):
        return Outcome(reason=error.reason, message=error.message), exitcodes.USER_ERROR
    if isinstance(error, RetryableError):
        return Outcome(reason=error.reason, message=error.message), exitcodes.RETRYABLE
    if isinstance(error, StageFailed):
        return Outcome(reason=error.reason, message=error.message), error.code
    if isinstance(error, StoreError):
        reason, code = next(row[1:] for row in _STORE_ERRORS if isinstance(error, row[0]))
        return Outcome(reason=reason, message=str(error)), code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = (
            f"no space left while writing {error.filename or 'a file'}; the node needs more free "
            "disk for this pod's scratch volume"
        )
        return Outcome(reason="NoSpace", message=message), exitcodes.RETRYABLE
    if isinstance(error, MemoryError):
        message = "out of memory; raise spec.resources.memory"
        return Outcome(reason="OutOfMemory", message=message), exitcodes.RETRYABLE
    text = " ".join(f"{type(error).__name__}: {error}".split())
    message = f"this is a bug in Modelyard ({text}); the pod's log has the details"
    return Outcome(reason="InternalError", message=message), exitcodes.INTERNAL


# The first row that fits counts: subclasses before their bases.
_STORE_ERRORS: tuple[tuple[type[StoreError], str, int], ...] = (
    (BucketMissing, "BucketMissing", exitcodes.RETRYABLE),
    (StoreUnavailable, "StoreUnavailable", exitcodes.RETRYABLE),
    (AccessDenied, "StoreAccessDenied", exitcodes.USER_ERROR),
    (BlobMissing, "ArtifactMissing", exitcodes.USER_ERROR),
    # Damage on the way is cured by a second try; damage in the store uses the tries up.
    (DigestMismatch, "DigestMismatch", exitcodes.RETRYABLE),
    (StoreError, "StoreMisconfigured", exitcodes.USER_ERROR),
)


def _outcome(
    handler: Callable[[AnyRun, Context], Outcome], run_type: type[AnyRun], *, last: bool
) -> tuple[Outcome, int]:
    path = _path(paths.RUN_ENV, paths.RUN_FILE)
    try:
        run = parse_run(path.read_bytes())
        if not isinstance(run, run_type):
            raise TypeError(f"its kind {run.kind} is not for {handler.__module__}")
    except (OSError, TypeError, ValidationError) as error:
        detail = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            if isinstance(error, ValidationError)
            else str(error)
        )
        message = (
            f"cannot use the run spec {path} ({detail}); the operator writes it: are the "
            "operator and the worker image of the same release?"
        )
        log.error("%s", message)
        return Outcome(reason="InvalidRun", message=message), exitcodes.INTERNAL

    context = Context(run)
    try:
        _catch_sigterm(context)
        outcome = handler(run, context)
        if last:
            _check(outcome, run_type)
        return outcome, exitcodes.OK
    except (Exception, Terminated) as error:
        outcome, code = classify(error)
        if code == exitcodes.INTERNAL:
            log.exception("unexpected error")
        return outcome, code


def _check(outcome: Outcome, run_type: type[AnyRun]) -> None:
    """Raises TypeError for an outcome without the result that the run names."""
    if issubclass(run_type, BaseRun) and outcome.of(run_type.result) is None:
        raise TypeError(f"{run_type.__name__} ends with {run_type.result.__name__}")


def _catch_sigterm(context: Context) -> None:
    if threading.current_thread() is not threading.main_thread():
        return

    def give_up() -> None:
        _finish(*classify(Terminated()))
        os._exit(exitcodes.RETRYABLE)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if context.terminating.is_set():
            return
        log.info("SIGTERM: stopping")
        # A handler inside a long call into C code would only unwind once that call is over.
        watchdog = threading.Timer(UNWIND_SECONDS, give_up)
        watchdog.daemon = True
        watchdog.start()
        context.terminate()
        raise Terminated

    signal.signal(signal.SIGTERM, handle)


def _finish(outcome: Outcome, code: int) -> None:
    path = _path(TERMINATION_LOG_ENV, paths.TERMINATION_LOG)
    try:
        # Kubernetes makes the file and mounts it: it is written in place.
        path.write_text(outcome.termination_message(), encoding="utf-8")
    except (OSError, ValueError) as error:
        log.error("cannot write the termination message %s: %s", path, error)
    level = logging.INFO if code == exitcodes.OK else logging.ERROR
    log.log(level, "%s (exit code %d)%s", outcome.reason, code, _tail(outcome.message))


def _tail(message: str) -> str:
    return f": {message}" if message else ""


def _path(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default)


def log_to_stdout() -> None:
    formatter = logging.Formatter(
        "%(asctime)sZ %(levelname)-7s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no UTF-8 must not cost its line of the log.
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("httpx", "httpcore", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
