"""What capture remembers beside its files, in the same folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from modelyard.api.monitoring import Redaction, ServerCapture
from modelyard.workloads.agent.memory import write_whole

FILE = "state.json"


class CaptureState(BaseModel):
    """The file's content. Without it nothing is lost but counts."""

    stored: int = 0
    """Captures in the store."""
    dropped: int = 0
    """Captures that were lost: no room, or not redacted."""
    halvings: int = Field(default=0, ge=0, le=60)
    """How often random captures have filled the disk since the store had them all: of each 2 to
    the power of this, one waits."""
    settings: ServerCapture | None = None
    """What the ModelServer asked for last: it counts until it can be read again."""
    policy: Redaction | None = None
    """Redaction that all files in the spool comply with."""
    on_demand: str | None = None
    """Request that was taken up last."""
    on_demand_left: int = 0
    """Images of it that are not taken yet."""
    day: int | None = None
    """Period in which the waiting captures were bundled last."""
    samples: dict[str, int] = Field(default_factory=dict)
    """Samples of each open span, by reason, start and length."""


def load(folder: Path) -> CaptureState:
    """The state; an unreadable one is as if there were none."""
    with contextlib.suppress(OSError, ValidationError):
        return CaptureState.model_validate_json((folder / FILE).read_bytes())
    return CaptureState()


def save(folder: Path, state: CaptureState) -> None:
    """Writes it whole. Raises OSError."""
    write_whole(folder / FILE, state.model_dump_json(exclude_none=True))
