"""Component processes: started once, known again, never mistaken for another, ended for certain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.processes import Component, Processes, start_ticks


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "cluster")
    made.make()
    return made


@pytest.fixture
def processes(layout: Layout) -> Iterator[Processes]:
    found = Processes(layout)
    yield found
    found.stop(["sleeper"], grace=1.0)


def sleeper(*command: str, reads: tuple[Path, ...] = ()) -> Component:
    return Component("sleeper", command or ("sleep", "600"), {"PATH": os.environ["PATH"]}, reads)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_starts_once(processes: Processes) -> None:
    assert processes.start(sleeper())
    first = processes.running("sleeper")
    assert first
    assert not processes.start(sleeper())
    assert processes.running("sleeper") == first


def test_restarts_when_the_command_or_a_file_that_it_read_changed(
    processes: Processes, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("one")
    processes.start(sleeper(reads=(config,)))
    config.write_text("two")
    assert processes.start(sleeper(reads=(config,)))
    assert processes.start(sleeper("sleep", "601"))


def test_starts_again_after_a_kill(processes: Processes) -> None:
    processes.start(sleeper())
    running = processes.running("sleeper")
    assert running
    os.kill(running.pid, signal.SIGKILL)
    assert eventually(lambda: processes.running("sleeper") is None)
    assert processes.start(sleeper())


def test_a_reused_pid_is_not_the_component(processes: Processes, layout: Layout) -> None:
    record = {"pid": os.getpid(), "start_ticks": 1, "boot": "x", "since": 0.0, "fingerprint": ""}
    (layout.run / "sleeper.pid").write_text(json.dumps(record))
    assert processes.running("sleeper") is None
    processes.stop(["sleeper"])
    assert start_ticks(os.getpid()) is not None


def test_finds_a_process_whose_pid_file_was_never_written(
    processes: Processes, layout: Layout
) -> None:
    processes.start(sleeper())
    running = processes.running("sleeper")
    assert running
    (layout.run / "sleeper.pid").unlink()
    found = processes.running("sleeper")
    assert found
    assert found.pid == running.pid
    processes.stop(["sleeper"])
    assert start_ticks(running.pid) is None


def test_kills_what_ignores_the_polite_signal(processes: Processes) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True);"
    processes.start(sleeper(sys.executable, "-c", f"{stubborn} time.sleep(600)"))
    assert eventually(lambda: "on" in processes.last_words("sleeper"))
    running = processes.running("sleeper")
    assert running
    processes.stop(["sleeper"], grace=0.2)
    assert start_ticks(running.pid) is None


def test_outlives_the_command_that_started_it_or_dies_with_it(layout: Layout) -> None:
    def started_by_another(die: bool) -> None:
        code = (
            "from pathlib import Path; from modelyard_local.cluster.paths import Layout;"
            "from modelyard_local.cluster.processes import Component, Processes;"
            f"Processes(Layout(Path({str(layout.root)!r})), die_with_parent={die}).start("
            "Component('sleeper', ['sleep', '600'], {'PATH': '/usr/bin:/bin'}))"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    processes = Processes(layout)
    started_by_another(die=False)
    assert processes.running("sleeper")
    processes.stop(["sleeper"])
    started_by_another(die=True)
    assert eventually(lambda: processes.running("sleeper") is None)


def test_logs_are_kept_and_quoted(processes: Processes) -> None:
    processes.start(sleeper("sh", "-c", "echo first; echo 'bad flag' >&2"))
    assert eventually(lambda: "bad flag" in processes.last_words("sleeper"))
    assert processes.last_words("sleeper", lines=1) == "bad flag"
    assert processes.last_words("nobody") == "(no log)"
