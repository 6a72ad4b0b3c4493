"""What Triton's metrics page says of each version, on a real Triton."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from modelyard.serving.figures import Totals, parse
from modelyard.serving.settings import ServingSettings
from modelyard.serving.warmup import grey_png

from .lines import WARM_UP

pytestmark = pytest.mark.triton

PNG = grey_png(64, 64)
WHITE = cv2.imencode(".png", np.full((64, 64, 3), 255, np.uint8))[1].tobytes()
BOXES = [(8.0, 16.0, 40.0, 48.0, 0.9, 2), (1.0, 1.0, 9.0, 9.0, 0.5, 0)]


async def totals(
    server: Any, line: str, done: Callable[[dict[int, Totals]], bool]
) -> dict[int, Totals]:
    """The page's totals, once they are whole and as wanted."""
    deadline = time.monotonic() + 10
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(server.metrics) as response:
                found = parse(await response.text(), line)
            if not any(one.partial for one in found.values()) and done(found):
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)


async def test_each_version_is_counted_by_itself(shared_server, switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    second = models.constant("v2", BOXES[:1])
    generation = await switcher.prepare(2, *second, ServingSettings())
    before = await totals(
        shared_server,
        switcher.line,
        lambda found: len(found) == 2 and all(t.requests == WARM_UP for t in found.values()),
    )

    started = time.monotonic()
    for _ in range(20):
        await triton.infer_image(switcher.line, PNG)
    spent = 1000 * (time.monotonic() - started)
    await triton.infer_image(generation.name, PNG, prove=True)
    after = await totals(
        shared_server,
        switcher.line,
        lambda found: [found[n].requests for n in (1, 2)] == [WARM_UP + 20, WARM_UP + 1],
    )

    window = after[1].since(before[1])
    assert (window.requests, window.failures, window.boxes) == (20, 0, 40)
    assert window.confidence_millis == pytest.approx(20 * 1400, abs=2)
    assert sum(window.latency) == 20
    assert 0 < window.latency_ms < spent
    assert 0 < window.queue_micros < 1000 * spent
    assert after[2].since(before[2]).requests == 1


async def test_bad_images_are_no_failures_and_those_of_the_network_are_counted_once(
    shared_server, switcher, triton, models
):
    await switcher.ensure(1, *models.fragile("v1"), ServingSettings())
    for data in (b"", b"nothing", PNG, PNG[:50], WHITE, PNG, WHITE):
        await asyncio.gather(triton.infer_image(switcher.line, data), return_exceptions=True)

    found = await totals(
        shared_server, switcher.line, lambda found: found[1].requests == WARM_UP + 2
    )

    assert (found[1].failures, found[1].rejected) == (2, 3)


async def test_new_settings_of_a_version_count_apart_from_the_old_ones(
    shared_server, switcher, triton, models
):
    """Both were there at the same time, with counters of the same version; the old ones are
    gone with their processes, and the new ones are not."""
    model = models.constant("v1", BOXES)
    await switcher.ensure(1, *model, ServingSettings(cpus=4, instances=1))
    await asyncio.gather(
        *(triton.infer_image(switcher.line, b"") for _ in range(8)), return_exceptions=True
    )
    await switcher.ensure(1, *model, ServingSettings(cpus=2, instances=1))
    before = (
        await totals(shared_server, switcher.line, lambda found: found[1].requests == WARM_UP)
    )[1]

    for data in (PNG, b"", PNG):
        await asyncio.gather(triton.infer_image(switcher.line, data), return_exceptions=True)

    after = await totals(
        shared_server,
        switcher.line,
        lambda found: found[1].since(before).requests == 2,
    )
    window = after[1].since(before)
    assert (sum(window.latency), window.boxes) == (2, 4)
    assert after[1].rejected == 1
