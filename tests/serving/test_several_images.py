"""Several images in one request, on a real Triton: boxes say which image they are in, and a bad
image is one error."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from modelyard.serving.settings import ServingSettings

from .server import Server
from .test_pipeline import wait_for_metric

Outputs = dict[str, list[Any]]


def pictures(count: int) -> list[bytes]:
    """PNG files of different sizes and contents."""
    random = np.random.default_rng(7)
    shapes = [(40 + 9 * number, 64 - 5 * number, 3) for number in range(count)]
    images = [random.integers(0, 255, shape, dtype=np.uint8) for shape in shapes]
    return [cv2.imencode(".png", image)[1].tobytes() for image in images]


async def post(server: Server, line: str, images: Sequence[bytes]) -> tuple[int, Any]:
    """Status, and the outputs by name or the error."""
    data = [base64.b64encode(one).decode() for one in images]
    sent = {"name": "IMAGE", "datatype": "BYTES", "shape": [len(data)], "data": data}
    url = f"http://{server.http}/v2/models/{line}/infer"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"inputs": [sent]}) as response,
    ):
        answer = json.loads(await response.text())
        if response.status != 200:
            return response.status, answer["error"]
        return 200, {one["name"]: one["data"] for one in answer["outputs"]}


def of_image(outputs: Outputs, number: int) -> list[tuple[Any, ...]]:
    """Box, score, class and label of what was found in one image."""
    boxes = np.array(outputs["boxes"]).reshape(-1, 4).tolist()
    rest = (outputs[name] for name in ("scores", "classes", "labels", "image"))
    rows = zip(map(tuple, boxes), *rest, strict=True)
    return [row[:-1] for row in rows if row[-1] == number]


@pytest.mark.parametrize(
    ("one_step", "batch"), [(True, 1), (True, -1), (False, -1)], indirect=["one_step"]
)
async def test_boxes_are_those_of_each_image_alone(shared_server, switcher, models, batch):
    await switcher.ensure(1, *models.grid("v1", batch=batch), ServingSettings(cpus=2))
    images = pictures(5)

    _, together = await post(shared_server, switcher.line, images)

    assert together["errors"] == [""] * 5
    assert together["image"] == sorted(together["image"])
    for number, image in enumerate(images):
        _, alone = await post(shared_server, switcher.line, [image])
        assert (set(alone["image"]), alone["errors"]) == ({0}, [""])
        found, wanted = of_image(together, number), of_image(alone, 0)
        assert len(found) > 3
        assert [one[2:] for one in found] == [one[2:] for one in wanted]
        assert [one[1] for one in found] == pytest.approx([one[1] for one in wanted], abs=1e-5)
        boxes = [one[0] for one in found], [one[0] for one in wanted]
        assert np.abs(np.subtract(*boxes)).max() < 1e-2


async def test_a_bad_image_is_one_error_and_not_the_requests(shared_server, switcher, models):
    boxes = [(8.0, 16.0, 40.0, 48.0, 0.9, 2)]
    await switcher.ensure(1, *models.constant("v1", boxes, batch=-1), ServingSettings())
    good, other = pictures(2)

    status, outputs = await post(shared_server, switcher.line, [good, b"GIF89a" * 9, b"", other])

    assert status == 200
    assert outputs["image"] == [0, 3]
    assert outputs["labels"] == ["bird", "bird"]
    first, second, third, fourth = outputs["errors"]
    assert (first, fourth) == ("", "")
    assert "is not a JPEG, PNG, WebP or BMP" in second
    assert "IMAGE is empty" in third

    status, outputs = await post(shared_server, switcher.line, [b"", b""])
    assert (status, outputs["boxes"], len(outputs["errors"])) == (200, [], 2)

    step = "pipeline" if switcher.one_step else "preprocess"
    source = f"{(await switcher.serving()).generation.name}-{step}_0_0"
    own = f'{{model="{switcher.line}",source="{source}",version="1"}}'
    found = await wait_for_metric(shared_server, f"modelyard_rejected_total{own}", 4)
    assert found[f"modelyard_failures_total{own}"] == 0


async def test_too_many_images_are_refused(shared_server, switcher, models):
    boxes = [(8.0, 16.0, 40.0, 48.0, 0.9, 2)]
    chosen = ServingSettings(max_images=3)
    await switcher.ensure(1, *models.constant("v1", boxes, batch=-1), chosen)

    assert (await post(shared_server, switcher.line, pictures(3)))[0] == 200
    for count in (4, 0):
        status, error = await post(shared_server, switcher.line, pictures(count))
        assert status == 400
        assert f"IMAGE has {count} images, and this server takes 1 to 3" in error


@pytest.mark.parametrize("one_step", [False], indirect=True)
async def test_three_steps_take_one_image_for_a_network_of_one(shared_server, switcher, models):
    boxes = [(8.0, 16.0, 40.0, 48.0, 0.9, 2)]
    await switcher.ensure(1, *models.constant("v1", boxes), ServingSettings())

    status, error = await post(shared_server, switcher.line, pictures(2))

    assert status == 400
    assert "IMAGE has 2 images, and this server takes 1 to 1" in error
