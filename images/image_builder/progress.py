"""What a build tells while it runs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["base", "building", "archiving", "ready", "failed"]


@dataclass(frozen=True)
class Progress:
    """One step of one image."""

    image: str
    state: State
    seconds: float
    """Since this image was begun."""
    step: int = 0
    steps: int = 0
    """Instructions of the Dockerfile; 0 where they are not counted."""
    text: str = ""


Callback = Callable[[Progress], None]
"""Receives every step, from any thread."""

_STEP = re.compile(
    r"""^(?:\[\d+/\d+\]\s)?STEP\s(\d+)/(\d+):\s(.*)      # buildah, podman
      |^\#\d+\s\[(?:[\w.-]+\s)?\s*(\d+)/(\d+)\]\s(.*)    # Docker with BuildKit
    """,
    re.VERBOSE,
)


def parse_step(line: str) -> tuple[int, int, str] | None:
    """(step, steps, instruction) where a builder's output line announces an instruction."""
    match = _STEP.match(line)
    if not match:
        return None
    step, steps, text = match.groups()[:3] if match[1] else match.groups()[3:]
    return int(step), int(steps), " ".join(text.split())
