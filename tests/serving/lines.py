"""What tests of a model line do to it and ask of it. Boxes tell which version answers."""

from __future__ import annotations

import asyncio
from typing import Any

from modelyard.serving.settings import ServingSettings
from modelyard.serving.switch import Switcher
from modelyard.serving.triton import Triton
from modelyard.serving.warmup import grey_png

PNG = grey_png(64, 64)
WARM_UP = 3
"""Images that a load sends itself."""


def box(number: int) -> list[tuple[float, float, float, float, float, int]]:
    """One box whose left edge is the version's number, so that an answer tells who gave it."""
    return [(number, 20, 50, 60, 0.9, 1)]


async def serve_each(switcher: Switcher, models: Any, *numbers: int) -> None:
    """Brings up versions one after another, each with a box of its own."""
    for number in numbers:
        manifest, file = models.constant(f"v{number}", box(number))
        await switcher.ensure(number, manifest, file, ServingSettings())


async def answer(triton: Triton, line: str) -> tuple[str, int]:
    """Version that answered, and the number that its box carries."""
    prediction = await triton.infer_image(line, PNG)
    return prediction.version, round(float(prediction.outputs["boxes"][0][0]))


async def line_states(triton: Triton, line: str) -> set[str]:
    """Models of a line that Triton holds."""
    return {s.name for s in await triton.index() if s.name.startswith(line) and s.occupied}


async def answers_of(triton: Triton, name: str, number: int) -> int:
    """How many answers of a model Triton has counted, once there are so many: it counts them
    after it has sent them."""
    for _ in range(100):
        (found,) = await triton.statistics(name)
        if found.successes >= number:
            break
        await asyncio.sleep(0.1)
    return found.successes
