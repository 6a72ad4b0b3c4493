"""What all parts of the benchmark of serving work with: model, images, a real Triton."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving.server import Server, unpacked

from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec

from ..report import ROOT, Say
from .trainer import Trainer, trainer

LINE = "digits"
SIZES = (320, 640)
"""Heights and widths of the networks' inputs in pixels; the first one where one is enough."""
IMAGE_SIZES = {"640x480": (640, 480), "1920x1080": (1920, 1080)}
"""Widths and heights of the JPEG files; the first one where one is enough."""
EPOCHS = 14
IMAGES = 24
PEERS = ROOT / "tests" / "benchmarks" / "peers"


@dataclass(frozen=True)
class Site:
    """A folder of this run, and what is kept between runs."""

    folder: Path
    kept: Path
    """Folder with networks, data and images, kept between runs."""
    trainer: Trainer
    cpus: int

    def network(self, size: int, *, batch: bool = False) -> Path:
        """The network as ONNX, for one image or for any number."""
        return self.kept / f"model-{size}{'-batch' if batch else ''}.onnx"

    @property
    def model(self) -> Path:
        """The network as ONNX in the first size."""
        return self.network(SIZES[0])

    @functools.cached_property
    def manifest(self) -> ArtifactManifest:
        """The manifest of `model`."""
        return manifest(self.model)

    def jpegs(self, size: str) -> Path:
        """Folder of JPEG files of one of IMAGE_SIZES, with about a dozen digits each."""
        return self.kept / f"jpeg-{size}"

    @property
    def images(self) -> Path:
        """Folder of the JPEG files of the first size."""
        return self.jpegs(next(iter(IMAGE_SIZES)))

    def server(self, name: str) -> Server:
        """A Triton that is not started yet, with an empty repository of its own."""
        base = self.folder / name
        base.mkdir()
        return Server(unpacked(), base / "models", base / "triton.log")


@contextmanager
def site(say: Say) -> Iterator[Site]:
    """A folder for this run; trains and exports the model if it is not kept from an earlier one.
    Raises NoTrainer."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "modelyard" / "bench-serving"
    kept.mkdir(parents=True, exist_ok=True)
    with trainer(kept) as made, tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name:
        for folder in ("fastapi", "litserve", "ultralytics"):
            for script in (PEERS / folder).glob("*.py"):
                shutil.copy(script, kept)
        _make_data(kept)
        if not (kept / "model.pt").is_file():
            say(f"training yolo11n for {EPOCHS} epochs, a few minutes, once")
            made.run("/bench/train.py", "/bench", str(EPOCHS))
        if lacking := [size for size in SIZES if not (kept / f"model-{size}-batch.onnx").is_file()]:
            made.run("/bench/export.py", "/bench", *map(str, lacking))
        for size, pixels in IMAGE_SIZES.items():
            _make_images(kept, kept / f"jpeg-{size}", *pixels)
        yield Site(Path(name), kept, made, len(os.sched_getaffinity(0)))


async def started(server: Server) -> AbstractContextManager[Server]:
    """Starts a server and waits until it answers; it stops with the context."""

    @contextmanager
    def up() -> Iterator[Server]:
        try:
            yield server
        finally:
            server.stop()

    server.start()
    await server.wait_ready()
    return up()


def manifest(model: Path) -> ArtifactManifest:
    """The manifest of an ONNX file that Ultralytics exported; read from its own metadata."""
    import onnx

    found = onnx.load(model)
    described = {one.key: ast.literal_eval(one.value) for one in found.metadata_props
                 if one.key in ("names", "imgsz")}  # fmt: skip
    names, (height, width) = described["names"], described["imgsz"]
    content = model.read_bytes()
    tensors = [
        TensorSpec(
            name=one.name,
            dtype="FP32",
            shape=tuple(d.dim_value or -1 for d in one.type.tensor_type.shape.dim),
        )
        for one in (found.graph.input[0], *found.graph.output)
    ]
    return ArtifactManifest(
        format="onnx",
        file=ArtifactFile(
            name=model.name,
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
            size_bytes=len(content),
        ),
        classes=tuple(names[key] for key in sorted(names)),
        imgsz=(height, width),
        input=tensors[0],
        outputs=tuple(tensors[1:]),
    )


def _make_data(kept: Path) -> None:
    if (kept / "data").is_dir():
        return
    archive, part = kept / "digits.zip", kept / "data.part"
    script = ROOT / "examples" / "digits" / "scenes.py"
    subprocess.run([sys.executable, script, "--out", archive], check=True)
    with zipfile.ZipFile(archive) as file:
        file.extractall(part)
    part.rename(kept / "data")


def _make_images(kept: Path, folder: Path, width: int, height: int) -> None:
    """Pictures of six scenes each, enlarged until they fill the size."""
    import cv2
    import numpy as np

    part = folder.with_suffix(".part")
    if folder.is_dir():
        return
    part.mkdir(exist_ok=True)
    scenes = sorted((kept / "data" / "images" / "val").iterdir())
    chosen = np.random.default_rng(0).integers(0, len(scenes), (IMAGES, 2, 3))
    for number, rows in enumerate(chosen):
        tiles = [[cv2.imread(str(scenes[one])) for one in row] for row in rows]
        image = cv2.vconcat([cv2.hconcat(row) for row in tiles])
        factor = int(np.ceil(max(height / image.shape[0], width / image.shape[1])))
        image = cv2.resize(image, None, fx=factor, fy=factor)[:height, :width]
        cv2.imwrite(str(part / f"{number:02d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    part.rename(folder)
