"""What a client of the pipeline sees, on a real Triton."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import zlib
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from PIL import Image

from modelyard.api.pipeline import Pipeline
from modelyard.serving.models.boxes import select_raw
from modelyard.serving.models.letterbox import letterbox, to_image, to_tensor
from modelyard.serving.settings import ServingSettings
from modelyard.serving.triton import (
    InferenceError,
    ModelLoadError,
    ModelStatistics,
    Triton,
    TritonError,
)
from modelyard.workloads.agent.traffic import TrafficMeter

from .lines import WARM_UP

pytestmark = pytest.mark.triton

BOX = [(8.0, 16.0, 40.0, 48.0, 0.9, 2)]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
async def test_each_image_format_is_answered_in_pixels_of_the_image(
    switcher, triton, models, suffix
):
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())

    # 128 x 64 letterboxed to 64 x 64: scaled by a half, 16 pixels of grey left and right.
    answer = await triton.infer_image(switcher.line, encode(picture(128, 64), suffix))

    assert answer.outputs["boxes"].tolist() == [[0, 32, 48, 96]]
    assert answer.outputs["labels"].tolist() == ["bird"]
    assert answer.outputs["scores"] == pytest.approx([0.9])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_boxes_are_those_of_the_image_as_people_see_it(switcher, triton, models, kind):
    """64 x 128 pixels, to be turned by 90 degrees: as the picture of 128 x 64 above."""
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(picture(64, 128)).save(file, kind, exif=exif)

    answer = await triton.infer_image(switcher.line, file.getvalue())

    assert answer.outputs["boxes"].tolist() == [[0, 32, 48, 96]]


async def test_end_to_end_networks_need_no_suppression(switcher, triton, models):
    boxes = [*BOX, (9.0, 16.0, 40.0, 48.0, 0.8, 2), (1.0, 1.0, 2.0, 2.0, 0.1, 0)]
    await switcher.ensure(1, *models.constant("v1", boxes, final=True), ServingSettings())

    answer = await triton.infer_image(switcher.line, encode(picture(64, 64)))

    assert answer.outputs["scores"] == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("batch", [1, -1])
async def test_answers_equal_the_steps_done_by_hand(switcher, triton, models, batch):
    """Many overlapping boxes that depend on every pixel, asked side by side."""
    manifest, file = models.grid("grid", batch=batch, seed=3)
    pipeline = Pipeline(confidence=0.6, iou=0.5, max_detections=40)
    await switcher.ensure(1, manifest, file, ServingSettings(pipeline=pipeline, cpus=2))
    images = [picture(90 + seed, 120, seed) for seed in range(8)]

    answers = await asyncio.gather(
        *(triton.infer_image(switcher.line, encode(image)) for image in images)
    )

    for image, answer in zip(images, answers, strict=True):
        raw = run_onnx(file, to_tensor(letterbox(image, 64, 64), np.float32))
        boxes, scores, classes = select_raw(raw, 0.6, 0.5, 40)
        assert len(boxes) > 5
        assert answer.outputs["classes"].tolist() == classes.tolist()
        assert answer.outputs["scores"] == pytest.approx(scores, abs=1e-5)
        wanted = to_image(boxes, (64, 64), image.shape[:2])
        assert answer.outputs["boxes"] == pytest.approx(wanted, abs=1e-3)


def run_onnx(path, tensor: np.ndarray) -> np.ndarray:
    """The network by ONNX's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path)).run(None, {"images": tensor})[0][0]


async def test_an_image_without_findings_gives_empty_outputs(switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", []), ServingSettings())

    answer = await triton.infer_image(switcher.line, encode(picture(64, 64)))

    assert answer.outputs["boxes"].shape == (0, 4)
    for name in ("scores", "classes", "labels"):
        assert answer.outputs[name].shape == (0,)


async def test_a_bad_image_is_named_and_fails_alone(shared_server, switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    good = encode(picture(64, 64))

    results = await asyncio.gather(
        *(
            triton.infer_image(switcher.line, data)
            for data in (good, b"", b"GIF89a" + bytes(50), good[:40], good)
        ),
        return_exceptions=True,
    )

    assert [isinstance(one, InferenceError) for one in results] == [False, True, True, True, False]
    assert "IMAGE is empty" in str(results[1])
    assert "not a JPEG, PNG, WebP or BMP" in str(results[2])
    assert "starts like a PNG file (40 bytes) but cannot be decoded" in str(results[3])

    status, result = await post(shared_server, switcher.line, "bm90IGFuIGltYWdl")
    assert status == 400
    assert "nor base64 text of one" in result["error"]


async def test_a_small_file_of_many_pixels_is_refused_by_its_header(switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = bytearray(encode(picture(64, 64)))
    bomb[12:33] = header + struct.pack(">I", zlib.crc32(header))

    with pytest.raises(InferenceError, match="20000x20000 pixels, more than the"):
        await triton.infer_image(switcher.line, bytes(bomb))

    answer = await triton.infer_image(switcher.line, encode(picture(64, 64)))
    assert answer.outputs["scores"] == pytest.approx([0.9])


async def test_json_clients_send_base64(shared_server, switcher, models):
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    text = base64.b64encode(encode(picture(64, 64), ".jpg")).decode()

    for data in (text, f"data:image/jpeg;base64,{text}"):
        status, result = await post(shared_server, switcher.line, data)

        assert status == 200
        outputs = {one["name"]: one["data"] for one in result["outputs"]}
        assert outputs["labels"] == ["bird"]
        assert outputs["boxes"] == [8, 16, 40, 48]


async def post(server, line: str, data: str) -> tuple[int, dict]:
    body = {"inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": [data]}]}
    url = f"http://{server.http}/v2/models/{line}/infer"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, json.loads(await response.text())


async def test_detections_are_counted_per_version_and_class(
    shared_server, switcher, triton, models, one_step
):
    boxes = [*BOX, (1.0, 1.0, 9.0, 9.0, 0.35, 0)]
    await switcher.ensure(6, *models.constant("v6", boxes), ServingSettings())
    generation = (await switcher.serving()).generation
    source = f"{generation.pipeline if one_step else generation.postprocess}_0_0"
    own = f'model="{switcher.line}",source="{source}",version="6"'
    # Counters change one by one; this is the last. The warm-up's three images are counted too.
    counted = f"modelyard_images_total{{{own}}}"
    await wait_for_metric(shared_server, counted, WARM_UP)
    for _ in range(3):
        await triton.infer_image(switcher.line, encode(picture(64, 64)))

    found = await wait_for_metric(shared_server, counted, WARM_UP + 3)

    assert found[f"modelyard_latency_count{{{own}}}"] == 6
    assert found[f"modelyard_confidence_count{{{own}}}"] == 12
    assert found[f'modelyard_detections_total{{class="bird",{own}}}'] == 6
    assert found[f'modelyard_detections_total{{class="cat",{own}}}'] == 6
    assert found[f'modelyard_confidence_bucket{{le="0.4",{own}}}'] == 6
    assert found[f'modelyard_confidence_bucket{{le="0.9",{own}}}'] == 12
    assert found[f'modelyard_confidence_bucket{{le="+Inf",{own}}}'] == 12
    assert found[f"modelyard_confidence_sum{{{own}}}"] == pytest.approx(6 * 1.25, abs=1e-4)
    area = (32 * 32 + 8 * 8) / 64**2
    assert found[f"modelyard_box_area_ratio_sum{{{own}}}"] == pytest.approx(6 * area, abs=1e-4)
    # Triton's own metrics of an ensemble are filed under version 1, whatever its version is.
    triton_own = f'model="{switcher.line}",version="1"'
    assert found[f"nv_inference_request_success{{{triton_own}}}"] == 3
    assert found[f'nv_inference_request_summary_us{{{triton_own},quantile="0.95"}}'] > 0


async def wait_for_metric(server: Any, name: str, value: float) -> dict[str, float]:
    """All samples, once the named one has reached a value."""
    for _ in range(100):
        async with aiohttp.ClientSession() as session, session.get(server.metrics) as response:
            rows = (await response.text()).splitlines()
        found = {
            text.rsplit(" ", 1)[0]: float(text.rsplit(" ", 1)[1])
            for text in rows
            if not text.startswith("#")
        }
        if found.get(name, 0) >= value:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} did not reach {value}: {found.get(name)}")


async def test_only_the_agent_may_load_and_unload(shared_server, switcher, triton, models):
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    stranger = Triton(shared_server.grpc)

    with pytest.raises(TritonError):
        await stranger.unload(switcher.line)
    with pytest.raises(ModelLoadError):
        await stranger.load(switcher.line)
    url = f"http://{shared_server.http}/v2/repository/models/{switcher.line}/unload"
    async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
        assert response.status >= 400
    assert len((await stranger.infer_image(switcher.line, encode(picture(9, 9)))).outputs) == 6
    await stranger.close()


async def counts(triton: Triton, line: str, successes: int, failures: int) -> list[ModelStatistics]:
    """Triton's own statistics, once they say so: it counts after the client has its answer."""
    for _ in range(100):
        found = await triton.statistics(line)
        if [(one.successes, one.failures) for one in found] == [(successes, failures)]:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not {successes} answers and {failures} failures: {found}")


async def test_traffic_is_added_up_over_versions(switcher, triton, models, tmp_path):
    """Also pins down that Triton counts a failed request of an ensemble twice."""
    meter = TrafficMeter(tmp_path, "pod-0")
    good = encode(picture(64, 64))
    await switcher.ensure(1, *models.constant("v1", BOX), ServingSettings())
    for data in (good, good, b"nothing"):
        await asyncio.gather(triton.infer_image(switcher.line, data), return_exceptions=True)
    meter.add(await counts(triton, switcher.line, 2, 2))
    await switcher.ensure(2, *models.constant("v2", BOX), ServingSettings())
    await triton.infer_image(switcher.line, good)
    with pytest.raises(InferenceError):
        await triton.infer_image(switcher.line, b"")
    meter.add(await counts(triton, switcher.line, 1, 2))
    report = meter.report()

    assert (report.requests, report.failures) == (3, 2)
    assert 0 < report.mean_milliseconds < 5000
    meter.reported()
    assert meter.report().mean_milliseconds is None
    # An agent that restarts goes on counting; another pod's agent counts anew.
    assert TrafficMeter(tmp_path, "pod-0").report().requests == 3
    assert TrafficMeter(tmp_path, "pod-1").report() is None
