"""What the first stage of a pod with stages puts into `inputs`: see core/stages.py.

`run.json` is the run spec without what an isolated stage need not know: the URI of the weights,
which may carry a password or a signature.
"""

from __future__ import annotations

from pathlib import Path

from modelyard.contract import paths
from modelyard.contract.run import EvaluateRun, ExportRun, dump_run
from modelyard.store import Store
from modelyard.workloads import weights
from modelyard.workloads.runner import Context


def fetch_weights(run: ExportRun | EvaluateRun, context: Context, store: Store) -> Path:
    """The weights, verified by digest, as a file in `inputs`. Raises as `weights.fetch` does."""
    return weights.fetch(store, run, run.weights, context.work / paths.INPUTS)


def weights_file(run: ExportRun | EvaluateRun, context: Context) -> Path:
    """Where `fetch_weights` has put them."""
    return context.work / paths.INPUTS / f"weights.{run.weights.format}"


def leave_run(run: ExportRun | EvaluateRun, context: Context) -> None:
    """Leave the run spec for the isolated stage."""
    public = run.weights.model_copy(update={"uri": None})
    text = dump_run(run.model_copy(update={"weights": public}))
    path = context.work / paths.INPUTS / paths.RUN_FILE.name
    path.write_text(text, encoding="utf-8")
