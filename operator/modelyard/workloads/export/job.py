"""First and last stage of an export's pod: weights in, artifact and manifest in the store.

Neither loads a `.pt` file: that is convert.py, in a container of its own without credentials. What
it leaves is copied before it is checked, so that nothing changes between check and upload.
"""

from __future__ import annotations

import logging
from pathlib import Path

from modelyard.api.export import Artifact
from modelyard.contract import paths
from modelyard.contract.manifest import ArtifactManifest
from modelyard.contract.result import ExportResult, Outcome
from modelyard.contract.run import ExportRun
from modelyard.store import Store
from modelyard.workloads import handover, stages, weights
from modelyard.workloads.data import materialize
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import onnxfile, tensorrtfile
from modelyard.workloads.export.convert import MANIFEST, MODEL
from modelyard.workloads.runner import Context

log = logging.getLogger("modelyard.export")

MAX_ENGINE_BYTES = 8 * 1024**3
"""Maximum size of a TensorRT plan; onnxfile.MAX_BYTES is that of an ONNX file."""


def fetch(run: ExportRun, context: Context) -> None:
    """Fetch the weights, and the images that an int8 engine is calibrated on.

    Raises UserError (WeightsUnavailable, DigestMismatch, …), RetryableError, StoreError.
    """
    store = Store.open(run.store)
    stages.fetch_weights(run, context, store)
    if run.dataset_digest:
        materialize(store, run.dataset_digest, context.work / paths.INPUTS / "dataset", ["train"])
    stages.leave_run(run, context)


def handle(run: ExportRun, context: Context) -> Outcome:
    """Check what the isolated stage has made, and publish it with its manifest.

    Raises UserError (ExportFailed, UntrustedOutput, …), RetryableError, StoreError, and
    StageFailed for what an earlier stage has left.
    """
    handover.raise_failure(context.work)
    path, manifest = _checked(run, context)
    store = Store.open(run.store)
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


def _checked(run: ExportRun, context: Context) -> tuple[Path, ArtifactManifest]:
    """The artifact in this container's own scratch directory, with its manifest."""
    if run.weights.format == "onnx":
        if run.export.format != "onnx":
            raise UserError(
                "ExportFailed",
                f"export {run.export.name}: weights of format onnx can only be served as onnx",
            )
        return onnxfile.adopt(stages.weights_file(run, context), run.export)
    outputs = context.work / paths.OUTPUTS
    made = outputs / MODEL[run.export.format]
    if run.export.format == "tensorrt":
        path = handover.take_file(made, context.scratch / "weights.plan", MAX_ENGINE_BYTES)
        claimed = handover.take_bytes(outputs / MANIFEST, tensorrtfile.MAX_MANIFEST_BYTES)
        return path, tensorrtfile.checked_manifest(claimed, path, run.export)
    path = handover.take_file(made, context.scratch / "weights.onnx", onnxfile.MAX_BYTES)
    return path, onnxfile.finish(path, run.export)
