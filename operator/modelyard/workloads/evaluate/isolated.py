"""The isolated stage of an evaluation: runs what can execute code, and leaves boxes.

It sees the images and neither the labels nor the ONNX artifacts' judge. A `.pt` file can still
write any boxes for itself; what that is worth: core/modelversion/gates.py.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from modelyard.contract import paths
from modelyard.contract.run import EvaluateRun
from modelyard.workloads import isolation, stages
from modelyard.workloads.evaluate import artifacts, boxes, predicting
from modelyard.workloads.evaluate.task import DATASET, Task
from modelyard.workloads.export import tensorrtfile
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment

log = logging.getLogger("modelyard.evaluate")


def handle(run: EvaluateRun, context: Context) -> None:
    """Boxes of the weights and of engines on the pinned split.

    Raises UserError, RetryableError.
    """
    isolation.cut_network()
    environment.load(context.scratch, context.workers)
    inputs, outputs = context.work / paths.INPUTS, context.work / paths.OUTPUTS
    task = Task.read(inputs)
    for candidate in _candidates(run, context, inputs):
        found = predicting.predict(candidate, run.evaluation, task, inputs / DATASET, context)
        boxes.leave(outputs, candidate.name, found.detections, found.claim)
        log.info("%s: %d detections", candidate.name, len(found.detections))


def _candidates(run: EvaluateRun, context: Context, inputs: Path) -> list[predicting.Candidate]:
    found = []
    for one in artifacts.fetched(run, inputs):
        if one.manifest.format != "tensorrt":
            continue
        tensorrtfile.require(f"artifact {one.name}")
        # Ultralytics takes engines with its own header alone.
        engine = context.scratch / f"{one.name}.engine"
        engine.write_bytes(tensorrtfile.join_header(one.manifest, one.path.read_bytes()))
        found.append(predicting.Candidate(one.name, engine, one.manifest, "0"))
    if artifacts.judges_source(run):
        # Ultralytics may write beside the weights.
        path = Path(shutil.copy(stages.weights_file(run, context), context.scratch / "weights.pt"))
        found.append(predicting.Candidate(artifacts.SOURCE, path, None, artifacts.device("pt")))
    return found
