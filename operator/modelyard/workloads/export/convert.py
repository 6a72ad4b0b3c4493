"""The isolated stage of an export: what loads the weights, and has nothing worth stealing.

It leaves `model.onnx`, or `model.plan` with `manifest.json`, in `outputs`. The last stage
(job.py) takes none of it on trust.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from modelyard.contract import paths
from modelyard.contract.run import ExportRun
from modelyard.workloads import isolation, stages
from modelyard.workloads.export import exporting, tensorrtfile
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment

log = logging.getLogger("modelyard.export")

MODEL = {"onnx": "model.onnx", "tensorrt": "model.plan"}
"""Name in `outputs` of the file that an export makes, by format."""
MANIFEST = "manifest.json"
"""Name in `outputs` of an engine's manifest."""


def handle(run: ExportRun, context: Context) -> None:
    """Convert a .pt file.

    Raises UserError (ExportFailed, GpuMismatch, …), RetryableError without a GPU or isolation.
    """
    isolation.cut_network()
    environment.load(context.scratch, context.workers)
    inputs, outputs = context.work / paths.INPUTS, context.work / paths.OUTPUTS
    # The exporter writes beside the weights, which lie where nothing can be written.
    file = Path(shutil.copy(stages.weights_file(run, context), context.scratch / "weights.pt"))
    if run.export.format == "tensorrt":
        data = inputs / "dataset" if run.dataset_digest else None
        path, manifest = tensorrtfile.build(run, data, file)
        (outputs / MANIFEST).write_bytes(manifest.dump())
    else:
        path = exporting.export(file, run.export, format="onnx", device="cpu")
    shutil.move(path, outputs / MODEL[run.export.format])
