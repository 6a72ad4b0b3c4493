"""Long-running component processes: started detached, found again, stopped for certain.

A component outlives the command that started it, so its identity is kept on disk: pid, the
process's start time (a pid alone may be reused) and the boot it belongs to. Every process also
carries a marker in its environment; a process whose pid file was never written, because its
starter was killed in between, is found by that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import write_atomic
from modelyard_local.cluster.paths import Layout

MARKER = "MODELYARD_CLUSTER_COMPONENT"
_LOG_LIMIT = 64 * 2**20
_PROC = Path("/proc")


@dataclass(frozen=True)
class Component:
    """One process of a cluster: its command, and what must be the same for it to be kept."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    reads: Sequence[Path] = ()
    """Files it reads only at start; a change of their content restarts it."""

    def fingerprint(self) -> str:
        """A hash of the command, environment and files that the process was started with."""
        digest = hashlib.sha256(
            json.dumps([list(self.command), dict(self.environment)], sort_keys=True).encode()
        )
        for path in self.reads:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Running:
    """A live process of a component."""

    pid: int
    start_ticks: int
    since: float
    """Seconds since the epoch."""
    fingerprint: str
    """Empty where the process was found by its marker only."""


def boot_id() -> str:
    """Identifies this boot of the machine: start times and pids mean nothing in another one."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        # The command in parentheses may hold spaces; fields are counted after it.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == "X" or (fields[0] == "Z" and not _has_threads(pid)):
        return None
    return int(fields[19])


def _has_threads(pid: int) -> bool:
    """Whether other threads of a dead main thread still hold memory, files and ports."""
    try:
        return len(os.listdir(_PROC / str(pid) / "task")) > 1
    except FileNotFoundError:
        return False


class Processes:
    """The processes of one cluster."""

    def __init__(self, layout: Layout, *, die_with_parent: bool = False) -> None:
        """`die_with_parent` has the kernel kill each process with the thread that started it."""
        self._layout = layout
        self._die_with_parent = die_with_parent
        # kube-apiserver waits for its watches to end; for a test's nobody else does.
        self._grace = 2.0 if die_with_parent else 10.0

    def log(self, name: str) -> Path:
        """The log of the component called `name`."""
        return self._layout.logs / f"{name}.log"

    def running(self, name: str) -> Running | None:
        """The live process of a component, or None."""
        try:
            record = json.loads(self._pid_file(name).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return self._orphan(name)
        ticks = start_ticks(record["pid"])
        if ticks is None or (boot_id(), ticks) != (record["boot"], record["start_ticks"]):
            return self._orphan(name)
        return Running(record["pid"], record["start_ticks"], record["since"], record["fingerprint"])

    def start(self, component: Component) -> bool:
        """Makes `component` run as described; returns whether a process had to be started."""
        fingerprint = component.fingerprint()
        current = self.running(component.name)
        if current and current.fingerprint == fingerprint:
            return False
        if current:
            self.stop([component.name])
        self._spawn(component, fingerprint)
        return True

    def stop(self, names: Iterable[str], grace: float | None = None) -> None:
        """Ends the components in parallel: SIGTERM, after `grace` seconds SIGKILL."""
        live = {name: found for name in names if (found := self.running(name))}
        patience = self._grace if grace is None else grace
        end_processes({found.pid: found.start_ticks for found in live.values()}, patience)
        for name in live:
            self._pid_file(name).unlink(missing_ok=True)

    def known(self) -> list[str]:
        """Names of all components that have a pid file."""
        return sorted(path.stem for path in self._layout.run.glob("*.pid"))

    def last_words(self, name: str, lines: int = 8) -> str:
        """The end of a component's log, for error messages."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _pid_file(self, name: str) -> Path:
        return self._layout.run / f"{name}.pid"

    def _mark(self, name: str) -> str:
        return f"{self._layout.root}:{name}"

    def _orphan(self, name: str) -> Running | None:
        for pid in marked(self._mark(name)):
            ticks = start_ticks(pid)
            # Children inherit the marker (containerd's shims do); the component leads its session.
            if ticks is not None and os.getsid(pid) == pid:
                return Running(pid, ticks, time.time(), "")
        return None

    def _spawn(self, component: Component, fingerprint: str) -> None:
        log = self.log(component.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        command = list(component.command)
        if self._die_with_parent and (setpriv := shutil.which("setpriv")):
            command = [setpriv, "--pdeathsig", "KILL", "--", *command]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**component.environment, MARKER: self._mark(component.name)},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # One that ended at once has no start time any more, and must not look alive.
        ticks = start_ticks(process.pid) or 0
        record = {
            "pid": process.pid,
            "start_ticks": ticks,
            "boot": boot_id(),
            "since": time.time(),
            "fingerprint": fingerprint,
        }
        write_atomic(self._pid_file(component.name), json.dumps(record))
        _children[process.pid] = process


# Popen objects of our own children: without them their zombies would stay, with a pid.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _reap() -> None:
    for pid, process in list(_children.items()):
        if process.poll() is not None:
            del _children[pid]


def marked(value: str) -> Iterator[int]:
    """Pids of processes that carry the marker `value`."""
    wanted = f"{MARKER}={value}".encode()
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def end_processes(pids: Mapping[int, int], grace: float) -> None:
    """Ends processes (pid → start ticks) and waits: SIGTERM, after `grace` seconds SIGKILL.

    Raises ClusterError where one survives SIGKILL for 10 seconds.
    """
    left = dict(pids)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for pid, ticks in left.items():
            if start_ticks(pid) == ticks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        deadline = time.monotonic() + patience
        while left:
            _reap()
            left = {pid: ticks for pid, ticks in left.items() if start_ticks(pid) == ticks}
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if not left:
            _reap()
            return
    raise ClusterError(
        f"Processes {', '.join(map(str, left))} did not end on SIGKILL; they hang in the kernel "
        "(see `ps -o pid,stat,wchan,cmd`)"
    )
