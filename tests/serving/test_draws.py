"""Requests that a real Triton draws for monitoring: uniformly, with all figures, failing none."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.contract.manifest import ArtifactManifest, Embedding, TensorSpec
from modelyard.serving.draws import GRACE_SECONDS, Draw, Draws, Taken
from modelyard.serving.settings import ServingSettings
from modelyard.serving.triton import Triton
from modelyard.workloads.agent.monitoring.bridging import Bridge
from modelyard.workloads.agent.monitoring.figures import Release, observe

pytestmark = pytest.mark.triton

BOXES = [(8.0, 16.0, 40.0, 48.0, 0.9, 2), (1.0, 1.0, 9.0, 9.0, 0.5, 0)]
ASK: dict[str, Any] = {"parameter": "camera", "sources": [], "most": 8}


def picture(number: int) -> bytes:
    """A bright PNG of 40 x 60 pixels, of another blue for each number."""
    image = np.random.default_rng(number).integers(0, 200, (40, 60, 3), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def with_embedding(model: tuple[ArtifactManifest, Path]) -> tuple[ArtifactManifest, Path]:
    """The network with the mean colour of its input as embedding."""
    manifest, path = model
    graph = onnx.load(path)
    node = helper.make_node("ReduceMean", ["images"], ["embedding"], axes=[2, 3], keepdims=0)
    graph.graph.node.append(node)
    graph.graph.output.append(
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [manifest.batch, 3])
    )
    onnx.save(graph, path)
    content = path.read_bytes()
    file = manifest.file.model_copy(
        update={
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "size_bytes": len(content),
        }
    )
    spec = TensorSpec(name="embedding", dtype="FP32", shape=(manifest.batch, 3))
    seen = Embedding(output="embedding", size=3)
    update = {"file": file, "outputs": (*manifest.outputs, spec), "embedding": seen}
    return manifest.model_copy(update=update), path


@pytest.fixture
def draws(shared_server, switcher) -> Draws:
    return Draws(switcher.line, shared_server.spool)


async def ask_until_drawn(
    triton: Triton, line: str, draws: Draws, image: bytes, **parameters: str
) -> Draw:
    deadline = time.monotonic() + 30
    while True:
        await triton.infer_image(line, image, parameters=parameters)
        if taken := draws.take().draws:
            return taken[0]
        assert time.monotonic() < deadline, "nothing is drawn"
        await asyncio.sleep(0.05)


async def test_a_drawn_request_holds_all_that_is_known_of_it(switcher, triton, models, draws):
    model = with_embedding(models.constant("v3", BOXES))
    await switcher.ensure(3, *model, ServingSettings())
    generation = (await switcher.serving()).generation
    draws.control(generation, 0.5, **ASK)
    before = time.time()

    draw = await ask_until_drawn(triton, switcher.line, draws, picture(1), camera="hall")

    assert (draw.image, draw.source, draw.size) == (picture(1), "hall", (40, 60))
    assert draw.generation == generation.name
    assert before - 1 < draw.time < time.time()
    assert draw.requests >= 1
    assert draw.answer.version == 3
    assert draw.answer.scores == pytest.approx([0.9, 0.5])
    assert draw.answer.classes.tolist() == [2, 0]
    assert draw.answer.top_score == pytest.approx(np.log(9), abs=1e-3)
    assert draw.answer.embedding.shape == (3,)
    assert 0 < draw.answer.embedding.mean() < 1
    observed = observe(draw, Release(model[0].file.digest, "p", 3, embeds=True))
    assert (observed.detections, observed.classes[:3]) == (2, (1, 0, 1))
    assert 0.2 < observed.brightness < 0.6
    assert not observed.blank
    assert len(observed.projection) == 32


async def test_clients_see_no_embedding_and_boxes_are_as_without_it(switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    without = await triton.infer_image(switcher.line, picture(1))
    await switcher.ensure(2, *with_embedding(models.constant("v2", BOXES)), ServingSettings())
    with_it = await triton.infer_image(switcher.line, picture(1))

    assert with_it.outputs.keys() == without.outputs.keys()
    assert np.array_equal(with_it.outputs["boxes"], without.outputs["boxes"])


async def test_every_request_has_the_same_chance_and_none_fails(switcher, triton, models, draws):
    """Four clients, two decoding processes: chi-square over 8 images, p above 0.001."""
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings(cpus=4))
    draws.control((await switcher.serving()).generation, 0.2, **ASK)
    images = [picture(number) for number in range(8)]
    drawn: collections.Counter[bytes] = collections.Counter()
    taken, answered, stop = Taken(), 0, asyncio.Event()

    async def client(first: int) -> None:
        nonlocal answered
        number = first
        while not stop.is_set():
            number += 1
            await triton.infer_image(switcher.line, images[number % 8], parameters={"camera": "a"})
            answered += 1

    clients = [asyncio.create_task(client(2 * first)) for first in range(4)]
    deadline = time.monotonic() + 120
    requests = 0
    while drawn.total() < 120:
        assert time.monotonic() < deadline, drawn
        for one in clients:
            assert not one.done(), "a request failed"
        found = await asyncio.to_thread(draws.take)
        taken.missed += found.missed
        for draw in found.draws:
            drawn[draw.image] += 1
            requests += draw.requests
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*clients)

    expected = drawn.total() / 8
    chi2 = sum((drawn[image] - expected) ** 2 / expected for image in images)
    assert chi2 < 24.3, drawn  # 99.9 % quantile with 7 degrees of freedom
    assert taken.missed <= drawn.total() / 10
    assert requests <= answered, "each request is counted once"


async def test_what_does_not_fit_fails_no_request(switcher, triton, models, draws, shared_server):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    draws.control((await switcher.serving()).generation, 0.3, **ASK, size=10)
    missed, deadline = 0, time.monotonic() + 30
    while not missed:
        await triton.infer_image(switcher.line, picture(1))
        taken = draws.take()
        assert not taken.draws
        missed += taken.missed
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)

    folder = shared_server.spool / f"{switcher.line}.drawn"
    assert not list(folder.glob("*.image"))


async def test_a_shadowed_version_answers_what_was_drawn(switcher, triton, models, draws):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    beside = await switcher.prepare(2, *models.constant("v2", BOXES[1:]), ServingSettings())
    draws.control((await switcher.serving()).generation, 0.5, **ASK)
    draw = await ask_until_drawn(triton, switcher.line, draws, picture(1), camera="hall")
    bridge = Bridge(triton, draws)

    answer = await bridge._replay(beside, draw.image)

    assert answer.version == 2
    assert answer.scores == pytest.approx([0.5])
    assert answer.top_score == pytest.approx(0, abs=1e-3)
    await asyncio.sleep(0.5 + GRACE_SECONDS)
    assert beside.name not in {one.generation for one in draws.take().draws}, "drawn itself"


async def test_a_client_cannot_choose_a_token(switcher, triton, models, draws, shared_server):
    await switcher.ensure(1, *models.constant("v1", BOXES), ServingSettings())
    draws.control((await switcher.serving()).generation, 60.0, **ASK, size=0)
    await asyncio.sleep(1.1)
    await triton.infer_image(switcher.line, picture(1), parameters={"modelyard_draw": "2a"})

    await asyncio.sleep(0.3)
    assert draws.answer(0x2A) is None
