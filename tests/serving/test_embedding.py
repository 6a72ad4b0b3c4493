"""Networks with an embedding, on a real Triton: for monitoring, and unseen by clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnx
import onnxruntime
import pytest

from modelyard.api.export import Export
from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving.names import network_name
from modelyard.serving.settings import ServingSettings
from modelyard.workloads.export import onnxfile

from ..unit.export.networks import SIZE, detector
from .lines import PNG
from .server import Server

pytestmark = pytest.mark.triton


def exported(
    folder: Path, *, batch: int | str, named: bool = True
) -> tuple[ArtifactManifest, Path]:
    """A detector as an export publishes it; without an embedding if its nodes are not `named`."""
    model = detector(batch=batch)
    for node in () if named else model.graph.node:
        node.name = ""
    path = folder / f"network{len(list(folder.iterdir()))}.onnx"
    onnx.save(model, str(path))
    return onnxfile.finish(path, Export()), path


async def ask(server: Server, model: str, image: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs that a network offers, by name."""
    tensor = {"name": "images", "datatype": "FP32", "shape": list(image.shape)}
    body = {"inputs": [tensor | {"data": image.ravel().tolist()}]}
    url = f"http://{server.http}/v2/models/{model}/infer"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        result = await response.json()
    assert response.status == 200, result
    return {
        one["name"]: np.array(one["data"], np.float32).reshape(one["shape"])
        for one in result["outputs"]
    }


@pytest.mark.parametrize(("batch", "count"), [(1, 1), ("batch", 3)])
async def test_the_network_answers_with_it_and_the_public_names_without(
    shared_server: Server, switcher: Any, triton: Any, tmp_path: Path, batch: Any, count: int
) -> None:
    manifest, path = exported(tmp_path, batch=batch)
    settings = ServingSettings()
    await switcher.ensure(1, manifest, path, settings)
    assert manifest.embedding is not None

    image = np.random.default_rng(0).random((count, 3, SIZE, SIZE)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(str(path)).run(
        ["output0", "embedding"], {"images": image}
    )
    generation = switcher._repository.generation(1, manifest, switcher.of(settings))
    if switcher.one_step:
        # The embedding stays in the process: see test_draws.py for what it is for.
        inner = {"output0": (await ask(shared_server, generation.pipeline, image))["raw0"]}
    else:
        inner = await ask(shared_server, generation.network, image)
        assert inner["embedding"] == pytest.approx(wanted[1], abs=1e-6)
    assert inner["output0"] == pytest.approx(wanted[0], abs=1e-5)
    public = await ask(shared_server, network_name(switcher.line), image)
    assert set(public) == {"output0"}
    assert np.array_equal(public["output0"], inner["output0"])
    answer = await triton.infer_image(switcher.line, PNG)
    assert set(answer.outputs) == {"boxes", "scores", "classes", "labels", "image", "errors"}


async def test_versions_with_and_without_one_follow_each_other(
    switcher: Any, triton: Any, tmp_path: Path
) -> None:
    first = exported(tmp_path, batch=1, named=False)
    second = exported(tmp_path, batch=1)
    assert (first[0].embedding, second[0].embedding is None) == (None, False)
    answers = []
    for version, artifact in ((1, first), (2, second), (1, first)):
        await switcher.ensure(version, *artifact, ServingSettings())
        answers.append(await triton.infer_image(switcher.line, PNG))
    assert [one.version for one in answers] == ["1", "2", "1"]
    for one in answers[1:]:
        assert np.array_equal(one.outputs["boxes"], answers[0].outputs["boxes"])
        assert np.array_equal(one.outputs["scores"], answers[0].outputs["scores"])
