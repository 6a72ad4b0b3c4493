"""The controllers' processes: started, asked whether they are ready, and what they cost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_TICK = os.sysconf("SC_CLK_TCK")


class TooLong(Exception):
    """Something did not happen in time; the message says what."""


@dataclass(frozen=True)
class Usage:
    """What a process has cost so far."""

    cpu_seconds: float
    """User and system time of all its threads."""
    rss_mb: float
    """Resident memory now, in 10⁶ bytes."""
    peak_rss_mb: float
    """Most resident memory so far."""


def usage(pid: int) -> Usage:
    """From /proc (proc(5)). Raises FileNotFoundError for a process that is gone."""
    # The command in parentheses may hold spaces; fields are counted after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        status[key] = value
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICK,
        rss_mb=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
        peak_rss_mb=int(status["VmHWM"].split()[0]) * 1024 / 1e6,
    )


class Process:
    """A controller that the harness starts itself."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it; its output goes to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={"PATH": os.environ["PATH"], **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, after `grace` seconds SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def resync(self) -> None:
        """Asks an operator to list and reconcile everything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def check(self) -> None:
        """Raises TooLong with the end of the log if the process has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise TooLong(
                f"{self._command[0]} ended early; its log ends with:\n{self.last_words()}"
            )

    def last_words(self, size: int = 3000) -> str:
        """The end of the log."""
        return self._log.read_bytes()[-size:].decode(errors="replace")


async def until(
    check: Callable[[], Awaitable[bool]], seconds: float, what: str, pause: float = 0.1
) -> None:
    """Waits for a true answer. Raises TooLong."""
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise TooLong(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(pause)


async def fetch(url: str) -> str | None:
    """The body of a good answer, or None."""
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None
