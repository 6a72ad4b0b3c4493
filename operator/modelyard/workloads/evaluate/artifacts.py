"""The files that an evaluation's pod runs: fetched and verified by digest, and found again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard.api.export import Artifact
from modelyard.contract.manifest import ArtifactManifest, parse_manifest
from modelyard.contract.run import EvaluateRun
from modelyard.store import Store
from modelyard.workloads.errors import UserError

SOURCE = "source"
"""Name of the weights themselves among the evaluations."""
CUDA_PROVIDER = "CUDAExecutionProvider"
"""ONNX Runtime's name for computing on an NVIDIA GPU; its usual package has none."""
_FOLDER = "artifacts"


@dataclass(frozen=True)
class Fetched:
    """An artifact in `inputs`."""

    name: str
    path: Path
    manifest: ArtifactManifest


def judges_source(run: EvaluateRun) -> bool:
    """Whether the weights themselves are evaluated."""
    return run.include_source and run.weights.format == "pt"


def fetch(run: EvaluateRun, store: Store, inputs: Path) -> list[Fetched]:
    """Fetch the artifacts and their manifests into `inputs`.

    Raises UserError ManifestUnreadable, StoreError.
    """
    folder = inputs / _FOLDER
    folder.mkdir(exist_ok=True)
    for one in run.artifacts:
        text = store.get_bytes(one.manifest_digest)
        _parsed(one, text)
        _manifest(folder, one).write_bytes(text)
        store.get_file(one.digest, folder / f"{one.name}.{one.format}")
    return fetched(run, inputs)


def fetched(run: EvaluateRun, inputs: Path) -> list[Fetched]:
    """The artifacts that `fetch` has put into `inputs`, which no other stage can write."""
    folder = inputs / _FOLDER
    return [
        Fetched(
            name=one.name,
            path=folder / f"{one.name}.{one.format}",
            manifest=_parsed(one, _manifest(folder, one).read_bytes()),
        )
        for one in run.artifacts
    ]


def device(file_format: str) -> str:
    """A GPU where there is one and the file can use it."""
    import onnxruntime
    import torch

    # Images on the GPU would have to come back for an ONNX Runtime that computes on the CPU.
    usable = file_format == "pt" or CUDA_PROVIDER in onnxruntime.get_available_providers()
    return "0" if usable and torch.cuda.is_available() else "cpu"


def _manifest(folder: Path, artifact: Artifact) -> Path:
    return folder / f"{artifact.name}.json"


def _parsed(artifact: Artifact, text: bytes) -> ArtifactManifest:
    """Raises UserError for what is no manifest, or not that of the artifact's file."""
    try:
        manifest = parse_manifest(text)
    except ValueError as error:
        raise UserError(
            "ManifestUnreadable",
            f"artifact {artifact.name}: {artifact.manifest_digest} is not an artifact's manifest",
        ) from error
    if (manifest.format, manifest.file.digest) != (artifact.format, artifact.digest):
        raise UserError(
            "ManifestUnreadable",
            f"artifact {artifact.name}: the manifest {artifact.manifest_digest} is that of another "
            "file",
        )
    return manifest
