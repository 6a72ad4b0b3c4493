"""A real tritonserver on this machine (`server.py`), and tiny networks whose answers are known."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec
from modelyard.serving.names import Generation
from modelyard.serving.repository import Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.switch import Swap, Switcher
from modelyard.serving.triton import Triton
from modelyard_local.cluster import ensure_all

from ..prebuild import distributes, say, wanted
from .server import Server, unpacked

SIZE = 64
CLASSES = ("cat", "dog", "bird")


BUILT = ("etcd", "kube-apiserver", "kubectl", "helm")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Unpacks Triton and builds the API server before workers start, where people see it."""
    if distributes(session):
        unpacked()
        ensure_all(BUILT, say)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The same without workers, if a test that is about to run needs it."""
    if wanted(session, "triton_folder"):
        unpacked()
    if wanted(session, "plane", "own_plane", "kubeconfig"):
        ensure_all(BUILT, say)


@pytest.fixture(scope="session")
def triton_folder() -> Path:
    """The unpacked server."""
    return unpacked()


@pytest.fixture(scope="session")
def shared_server(
    triton_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("triton")
    server = Server(triton_folder, base / "models", base / "triton.log")
    server.start()
    asyncio.run(server.wait_ready())
    yield server
    server.stop()


@pytest.fixture
def own_server(triton_folder: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill."""
    server = Server(triton_folder, tmp_path / "models", tmp_path / "triton.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def triton(shared_server: Server) -> AsyncIterator[Triton]:
    client = shared_server.client()
    yield client
    await client.close()


@dataclass
class Models:
    """Makes model files with manifests."""

    folder: Path

    def constant(
        self,
        name: str,
        boxes: list[tuple[float, float, float, float, float, int]],
        *,
        final: bool = False,
        batch: int = 1,
        candidates: int = 84,
    ) -> tuple[ArtifactManifest, Path]:
        """A network that finds the same boxes in every image: x1, y1, x2, y2, score, class in
        pixels of its 64 x 64 input."""
        values = final_rows(boxes) if final else raw_columns(boxes, candidates)
        nodes = [
            # 0 times the image's mean, so that the batch size of the input carries over.
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Squeeze", ["mean", "last"], ["each"]),
            helper.make_node("Mul", ["each", "zero"], ["nothing"]),
            helper.make_node("Add", ["values", "nothing"], ["output0"]),
        ]
        weights = {
            "values": values[None],
            "zero": np.float32(0),
            "last": np.array([3], np.int64),
        }
        return self._save(name, nodes, weights, values.shape, batch, final)

    def grid(self, name: str, *, batch: int = 1, seed: int = 0) -> tuple[ArtifactManifest, Path]:
        """A network whose boxes and scores depend on every pixel, with overlapping boxes: one
        candidate for each 4 x 4 tile."""
        random = np.random.default_rng(seed)
        rows = 4 + len(CLASSES)
        side = SIZE // 4
        y, x = np.mgrid[0:side, 0:side].astype(np.float32).reshape(2, -1) * 4 + 2
        base = np.zeros((1, rows, side * side), np.float32)
        base[0, :2], base[0, 2:4] = (x, y), 18
        spread = np.zeros((1, rows, 1), np.float32)
        spread[0, :2], spread[0, 2:4], spread[0, 4:] = 6, 8, 1
        weights = {
            "kernel": random.normal(0, 0.35, (rows, 3, 4, 4)).astype(np.float32),
            "base": base,
            "spread": spread,
            "shape": np.array([0, rows, -1], np.int64),
        }
        nodes = [
            helper.make_node("Conv", ["images", "kernel"], ["tiles"], strides=[4, 4]),
            helper.make_node("Reshape", ["tiles", "shape"], ["flat"]),
            helper.make_node("Sigmoid", ["flat"], ["bounded"]),
            helper.make_node("Mul", ["bounded", "spread"], ["scaled"]),
            helper.make_node("Add", ["scaled", "base"], ["output0"]),
        ]
        return self._save(name, nodes, weights, (rows, side * side), batch, False)

    def fragile(self, name: str) -> tuple[ArtifactManifest, Path]:
        """A network that finds nothing in dark and grey images and fails on white ones: their
        mean chooses a row that is not there."""
        values = raw_columns([], 84)
        nodes = [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "rows"], ["row"]),
            helper.make_node("Cast", ["row"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["values", "index"], ["chosen"], axis=0),
            helper.make_node("Unsqueeze", ["chosen", "first"], ["output0"]),
        ]
        weights = {
            "values": values[None],
            "rows": np.float32(1.01),
            "first": np.array([0], np.int64),
        }
        return self._save(name, nodes, weights, values.shape, 1, False)

    def broken(self, name: str) -> tuple[ArtifactManifest, Path]:
        """A file that is no ONNX model, with a manifest that fits it."""
        manifest, path = self.constant(name, [])
        path.write_bytes(b"this is not a model" * 100)
        return manifest.model_copy(update={"file": artifact_file(path)}), path

    def _save(
        self,
        name: str,
        nodes: list[onnx.NodeProto],
        weights: dict[str, np.ndarray],
        shape: tuple[int, ...],
        batch: int,
        final: bool,
    ) -> tuple[ArtifactManifest, Path]:
        first: int | str = "batch" if batch == -1 else batch
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [first, 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [first, *shape])],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        path = self.folder / f"{name}.onnx"
        onnx.save(model, path)
        manifest = ArtifactManifest(
            format="onnx",
            file=artifact_file(path),
            classes=CLASSES,
            imgsz=(SIZE, SIZE),
            input=TensorSpec(name="images", dtype="FP32", shape=(batch, 3, SIZE, SIZE)),
            outputs=(TensorSpec(name="output0", dtype="FP32", shape=(batch, *shape)),),
            end_to_end=final,
            dynamic=batch == -1,
        )
        return manifest, path


def artifact_file(path: Path) -> ArtifactFile:
    content = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return ArtifactFile(name=path.name, digest=digest, size_bytes=len(content))


def raw_columns(boxes: list[tuple[float, ...]], candidates: int) -> np.ndarray:
    raw = np.zeros((4 + len(CLASSES), candidates), np.float32)
    for column, (x1, y1, x2, y2, score, class_id) in enumerate(boxes):
        raw[:4, column] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        raw[4 + int(class_id), column] = score
    return raw


def final_rows(boxes: list[tuple[float, ...]]) -> np.ndarray:
    rows = np.zeros((300, 6), np.float32)
    rows[: len(boxes)] = np.array(boxes, np.float32).reshape(-1, 6)
    return rows


@pytest.fixture
def models(tmp_path: Path) -> Models:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return Models(folder)


class OneLayout(Switcher):
    """A switcher that serves all that it is given in one step, or all in three."""

    one_step: bool

    async def ensure(
        self, version: int, manifest: ArtifactManifest, model_file: Path, settings: ServingSettings
    ) -> Swap:
        return await super().ensure(version, manifest, model_file, self.of(settings))

    async def prepare(
        self, version: int, manifest: ArtifactManifest, model_file: Path, settings: ServingSettings
    ) -> Generation:
        return await super().prepare(version, manifest, model_file, self.of(settings))

    def restarted(self) -> Self:
        """Another one of the same layout, as of an agent that started anew."""
        made = type(self)(self._repository, self._triton, settle_seconds=0.2)
        made.one_step = self.one_step
        return made

    def of(self, settings: ServingSettings) -> ServingSettings:
        """Settings in this layout."""
        return settings.model_copy(update={"one_step": self.one_step})


@pytest.fixture(params=[True, False], ids=["one step", "three steps"])
def one_step(request: pytest.FixtureRequest) -> bool:
    """The layout: what our image serves, or the vendor's."""
    return bool(request.param)


@pytest.fixture
def switcher(
    shared_server: Server, triton: Triton, request: pytest.FixtureRequest, one_step: bool
) -> Switcher:
    """A switcher of a model line of the test's own on the shared server."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    repository = Repository(shared_server.root, f"line-{name}")
    made = OneLayout(repository, triton, settle_seconds=0.2)
    made.one_step = one_step
    return made


@pytest.fixture
async def own_triton(own_server: Server) -> AsyncIterator[Triton]:
    """A client of a server that the test may kill, once that answers."""
    await own_server.wait_ready()
    client = own_server.client()
    yield client
    await client.close()


@pytest.fixture
def own_switcher(own_server: Server, own_triton: Triton, one_step: bool) -> Switcher:
    """A switcher of a model line on it."""
    made = OneLayout(Repository(own_server.root, "digits"), own_triton)
    made.one_step = one_step
    return made
