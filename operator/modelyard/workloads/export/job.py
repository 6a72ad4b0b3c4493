"""An export's pod: weights in, artifact and manifest in the store."""

from __future__ import annotations

import logging
from pathlib import Path

from modelyard.api.modelversion import Artifact
from modelyard.contract.manifest import ArtifactManifest
from modelyard.contract.result import ExportResult, Outcome
from modelyard.contract.run import ExportRun
from modelyard.store import Store
from modelyard.workloads import weights
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import onnxfile, tensorrtfile
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment

log = logging.getLogger("modelyard.export")


def handle(run: ExportRun, context: Context) -> Outcome:
    """Export, and publish the artifact with its manifest.

    Raises UserError (ExportFailed, DigestMismatch, GpuMismatch, …), RetryableError, StoreError.
    """
    store = Store.open(run.store)
    file = weights.fetch(store, run, run.weights, context.scratch / "weights")
    path, manifest = _made(run, context, store, file)
    digest = store.put_file(path)
    if digest != manifest.file.digest:
        raise UserError(weights.MISMATCH, f"{path.name} changed while it was being published")
    artifact = Artifact(
        name=run.export.name,
        format=manifest.format,
        digest=digest,
        manifest_digest=store.put_bytes(manifest.dump()),
        size_bytes=manifest.file.size_bytes,
        gpu_product=manifest.engine.gpu_product if manifest.engine else None,
    )
    log.info("published %s %s of %d bytes", artifact.format, digest, artifact.size_bytes)
    return Outcome(result=ExportResult(artifact=artifact))


def _made(
    run: ExportRun, context: Context, store: Store, file: Path
) -> tuple[Path, ArtifactManifest]:
    if run.weights.format == "onnx":
        if run.export.format != "onnx":
            raise UserError(
                "ExportFailed",
                f"export {run.export.name}: weights of format onnx can only be served as onnx",
            )
        return onnxfile.adopt(file, run.export)
    environment.load(context.scratch, context.workers)
    if run.export.format == "tensorrt":
        return tensorrtfile.build(run, store, file, context.scratch)
    return onnxfile.export(file, run.export)
