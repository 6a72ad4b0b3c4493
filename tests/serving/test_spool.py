"""Copies of requests that a real Triton leaves for the agent."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import numpy as np
import pytest

from modelyard.serving.settings import ServingSettings
from modelyard.serving.spool import Sample, Spool
from modelyard.serving.triton import Triton
from modelyard.serving.warmup import grey_png

pytestmark = pytest.mark.triton

PNG = grey_png(64, 64)
BOXES = [(8.0, 16.0, 40.0, 48.0, 0.9, 2), (1.0, 1.0, 9.0, 9.0, 0.5, 0)]


@pytest.fixture
def spool(shared_server, switcher) -> Spool:
    return Spool(switcher.line, shared_server.spool)


async def ask_until_sampled(triton: Triton, line: str, spool: Spool, image: bytes) -> list[Sample]:
    """Sends an image again and again until a copy of it lies there."""
    deadline = time.monotonic() + 10
    while True:
        await triton.infer_image(line, image, prove=True)
        if samples := spool.take():
            return samples
        assert time.monotonic() < deadline, "nothing is copied"
        await asyncio.sleep(0.1)


async def test_a_copy_holds_the_image_and_the_answer(switcher, triton, models, spool):
    await switcher.ensure(3, *models.constant("v3", BOXES), ServingSettings())
    spool.control(1.0, (await switcher.serving()).generation)

    (sample,) = await ask_until_sampled(triton, switcher.line, spool, PNG)

    assert sample.image == PNG
    assert sample.version == 3
    assert sample.boxes == pytest.approx(np.array([b[:4] for b in BOXES]), abs=1e-3)
    assert sample.scores == pytest.approx([0.9, 0.5])
    assert sample.classes.tolist() == [2, 0]
    assert 0 < sample.milliseconds < 5000
    assert spool.take() == []


async def test_text_and_empty_answers_are_copied_as_they_are(switcher, triton, models, spool):
    await switcher.ensure(1, *models.constant("v1", []), ServingSettings())
    spool.control(1.0, (await switcher.serving()).generation)
    text = base64.b64encode(PNG)

    (sample,) = await ask_until_sampled(triton, switcher.line, spool, text)

    assert sample.image == text
    assert sample.boxes.shape == (0, 4)


async def test_nothing_is_copied_unasked_nor_of_another_generation(switcher, triton, models, spool):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    beside = await switcher.prepare(2, *models.constant("v2", BOXES), ServingSettings())
    for generation in (None, beside):
        if generation is not None:
            spool.control(1.0, generation)
            await ask_until_sampled(triton, beside.name, spool, PNG)

        for _ in range(20):
            await triton.infer_image(switcher.line, PNG)

        assert spool.take() == []


async def test_copies_beyond_the_limit_are_dropped_and_counted(switcher, triton, models, spool):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    generation = (await switcher.serving()).generation
    spool.control(1.0, generation, files=2)
    await ask_until_sampled(triton, switcher.line, spool, PNG)

    for _ in range(5):
        await triton.infer_image(switcher.line, PNG)

    assert spool.dropped == 3
    assert len(spool.take()) == 2
    spool.off()
    assert spool.dropped == 0


async def test_a_share_of_the_requests_is_copied(switcher, triton, models, spool):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    spool.control(0.2, (await switcher.serving()).generation, files=1000)
    await ask_until_sampled(triton, switcher.line, spool, PNG)
    spool.take(1000)

    for _ in range(10):
        await asyncio.gather(*(triton.infer_image(switcher.line, PNG) for _ in range(50)))

    # 500 of a share of 0.2: 100 are expected, with a standard deviation of 9.
    assert 55 < len(spool.take(1000)) < 145
    assert spool.dropped == 0


async def test_a_lost_folder_fails_no_request(shared_server: Any, switcher, triton, models, spool):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    spool.control(1.0, (await switcher.serving()).generation)
    await ask_until_sampled(triton, switcher.line, spool, PNG)
    folder = shared_server.spool / switcher.line
    spool.off()
    folder.rmdir()

    for _ in range(5):
        await triton.infer_image(switcher.line, PNG)

    assert spool.take() == []
    assert not folder.exists()
