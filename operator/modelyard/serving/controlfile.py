"""Files by which the agent tells Triton's processes what to copy into a folder of the spool.

Shared by spool.py (copies for a shadow) and draws.py (requests drawn for monitoring). The other
side is `models/spooling.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_control(folder: Path, name: str, wanted: Mapping[str, Any]) -> None:
    """Write the control file whole, and make the folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    # Triton may be another user of the same group: its processes make files here.
    with contextlib.suppress(PermissionError):
        folder.chmod(0o2770)
    part = folder / f"{name}.part"
    part.write_text(json.dumps(wanted))
    part.chmod(0o640)
    part.replace(folder / name)


def renew(folder: Path, name: str) -> None:
    """Say that the control file is still meant."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder / name)


def clear(folder: Path, name: str) -> None:
    """Remove the control file first, then all that is in the folder."""
    with contextlib.suppress(FileNotFoundError):
        (folder / name).unlink(missing_ok=True)
        for entry in list(folder.iterdir()):
            entry.unlink(missing_ok=True)
