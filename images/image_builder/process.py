"""Runs the builders' command lines: output to a log file, failures as one readable error."""

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import ImageError

_TAIL = 25
"""Lines of a failed command's output that the error quotes."""
_running: set[subprocess.Popen[str]] = set()
_refusing = threading.Event()


def succeeds(command: Sequence[str], timeout: float = 20.0) -> bool:
    """True if `command` exists and exits with 0 within `timeout` seconds."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def output(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Standard output of `command`, stripped. Raises ImageError where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    if done.returncode:
        raise ImageError(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def stream(
    command: Sequence[str],
    what: str,
    log: Path,
    line: Callable[[str], None] = lambda _line: None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Runs `command`, appends its output to `log` and hands each line to `line`.

    Raises ImageError, which quotes the end of the output and names the log, where it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    with (
        log.open("a", encoding="utf-8", errors="replace") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
        ) as process,
    ):
        _running.add(process)
        if _refusing.is_set():
            process.terminate()
        file.write(f"$ {' '.join(command)}\n")
        assert process.stdout is not None
        try:
            for text in process.stdout:
                file.write(text)
                tail = [*tail, text.rstrip()][-_TAIL:]
                line(text.rstrip())
        except BaseException:
            process.terminate()  # A failing callback must not leave a builder running.
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        quoted = "\n".join(f"    {text}" for text in tail)
        raise ImageError(
            f"{what} failed (exit {process.returncode}); its output ended with\n{quoted}\n"
            f"The whole output is in {log}"
        )


def accept() -> None:
    """Lets `stream` run commands again after `end_all`."""
    _refusing.clear()


def end_all() -> None:
    """Ends the commands that other threads are running in `stream`; those raise, as do new ones."""
    _refusing.set()
    for process in tuple(_running):
        process.terminate()
