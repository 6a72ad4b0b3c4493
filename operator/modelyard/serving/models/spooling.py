"""Files that Triton's steps leave for the agent, in memory that both containers share.

Files are written under another name and renamed, so they are always complete. The agent says what
it wants by a control file, and touches that while it reads: so a dead agent leaves few files and no
load. Who writes: copies.py, drawing.py. Runs inside Triton (`__init__.py`): it imports nothing.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

SPOOL = os.environ.get("MODELYARD_SPOOL", "/spool")
"""Folder that is shared with the agent."""
CONTROL = "control.json"
LOOK_SECONDS = 1.0
"""How often the control file is looked at."""
CONTROL_SECONDS = 60.0
"""A control file that its writer has not touched for so long says nothing: nobody would read."""


def read_control(folder: str, generation: str) -> dict[str, Any] | None:
    """What the agent wants of a generation's requests; None if it wants nothing, or nobody would
    read it. Raises OSError or ValueError for a file that cannot be read."""
    path = os.path.join(folder, CONTROL)
    if time.time() - os.stat(path).st_mtime > CONTROL_SECONDS:
        return None
    with open(path, "rb") as file:
        control = json.load(file)
    return control if control["generation"] == generation else None


def fits(folder: str, size: int, files: int, total: int) -> bool:
    """Whether an image of `size` bytes fits beside those that lie there: at most `files`, of
    `total` bytes together. Raises OSError."""
    found = used = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if ".image" in entry.name:
                found, used = found + 1, used + entry.stat().st_size
    return found < files and used + size <= total


def put(folder: str, name: str, *parts: bytes) -> None:
    """Writes a file whole or not at all. Raises OSError."""
    path = os.path.join(folder, name)
    with open(path + ".part", "wb") as file:
        for part in parts:
            file.write(part)
    os.rename(path + ".part", path)
