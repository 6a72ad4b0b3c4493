"""Free TCP ports on an address, remembered so that a restarted cluster keeps its URLs."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from modelyard_local.cluster.files import write_atomic


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could bind `port` on `address` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def becomes_free(port: int, address: str, patience: float) -> bool:
    """`is_free`, but a holder that is just ending gets `patience` seconds for it."""
    deadline = time.monotonic() + patience
    while not is_free(port, address):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def pick(names: Iterable[str], address: str = "127.0.0.1") -> dict[str, int]:
    """A free port for each name, all different."""
    with contextlib.ExitStack() as held:
        chosen = {}
        for name in names:
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((address, 0))
            chosen[name] = probe.getsockname()[1]
        return chosen


def remembered(file: Path, names: Iterable[str]) -> dict[str, int]:
    """The ports of `names` from `file`; missing ones are picked and added."""
    known: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads(file.read_text())
    known |= pick(name for name in names if name not in known)
    write_atomic(file, json.dumps(known, indent=2))
    return known


def forget(file: Path, names: Iterable[str]) -> None:
    """Drops ports that turned out to be taken; the next `remembered` picks others."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads(file.read_text())
        write_atomic(file, json.dumps({k: v for k, v in known.items() if k not in set(names)}))
