"""Starts operators in milliseconds: a process that has imported them already, and forks.

Run as a program it reads commands, a JSON object a line: `{"env": {...}, "log": path}` answers
`{"pid": n}`, and `{"reap": pid}` answers `{"code": n}` when that process has ended. At the end of
its input it kills what still runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any


class ForkServer:
    """The tests' end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def start(self, env: dict[str, str], log: Path) -> int:
        """The process id of a new operator."""
        return int(self._ask(env=env, log=str(log))["pid"])

    def reap(self, pid: int) -> int:
        """Wait for a process that is about to end; its exit code, negative for a signal."""
        return int(self._ask(reap=pid)["code"])

    def stop(self) -> None:
        """End all."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


def _run(main: Any, command: dict[str, Any]) -> None:
    """The forked child: becomes the operator."""
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(command["env"])
    code = 70
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """The server's end: see the module."""
    from modelyard.handlers.__main__ import main

    children: set[int] = set()
    for line in sys.stdin:
        command = json.loads(line)
        if "reap" in command:
            _, status = os.waitpid(command["reap"], 0)
            children.discard(command["reap"])
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                _run(main, command)
            children.add(pid)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
