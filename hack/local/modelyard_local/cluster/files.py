"""Files that several processes may write: replaced atomically, guarded by advisory locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.progress import Progress, Ticker, duration, silent


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> bool:
    """Replaces `path` in one step; a reader sees the old or the new content.

    Returns whether the content changed, so that callers restart only what read it.
    """
    data = content.encode() if isinstance(content, str) else content
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True


@contextlib.contextmanager
def locked(
    path: Path, *, waiting_for: str, timeout: float = 3600.0, progress: Progress = silent
) -> Iterator[None]:
    """Holds an exclusive lock on `path`; the kernel drops it when the holder dies.

    `waiting_for` names the work of the other holder in messages. Raises ClusterError after
    `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ticker = Ticker(10.0)
    while True:
        with path.open("a") as file:
            if _try_lock(file):
                # The last holder may have removed the file: then this lock guards nothing.
                if _is_at(file, path):
                    yield
                    return
                continue
        if ticker.elapsed > timeout:
            raise ClusterError(
                f"Another process has held {waiting_for} for {duration(ticker.elapsed)}; "
                f"find it with `fuser {path}` and stop it, then try again"
            )
        if ticker.due():
            progress(f"waiting for another process: {waiting_for}")
        time.sleep(0.2)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
