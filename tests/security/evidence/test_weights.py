"""Hostile `.pt` files, really unpickled, against the stages of exports and evaluations.

Runs where Ultralytics is, in the trainer image. The stages are processes here, not containers: what
a container's walls add is in tests/unit/core/test_stages.py and tests/e2e/test_chain.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.contract.result import EvaluateResult, ExportResult, TrainResult
from modelyard.contract.run import StoreLocation
from modelyard.store import Store

from ...workloads.train.conftest import runner  # noqa: F401

pytestmark = pytest.mark.e2e

UNGUARDED = {"ULTRALYTICS_SAFE_LOAD": "false"}
"""Without Ultralytics' own guard, so that what is behind it is seen."""


class Code:
    """A pickle that runs a program when it is loaded."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> Any:
        return (exec, (self.program, {}))


@pytest.fixture(scope="module")
def store(runner: Any) -> Store:  # noqa: F811
    return Store.open(StoreLocation(**runner.store))


@pytest.fixture(scope="module")
def honest(runner: Any) -> str:  # noqa: F811
    """Digest of weights that were trained for an epoch."""
    run = runner.training("honest", hyperparameters={"epochs": 1})
    return str(runner.run("train", run).of(TrainResult).weights_digest)


@pytest.fixture(scope="module")
def exported(runner: Any, honest: str) -> Any:  # noqa: F811
    return runner.run("export", export_run(honest)).of(ExportResult).artifact


def hostile(store: Store, folder: Path, program: str) -> str:
    """Digest of a checkpoint whose loading runs a program."""
    import torch

    path = folder / "hostile.pt"
    torch.save({"model": Code(program)}, path)
    return store.put_file(path)


def export_run(digest: str) -> dict[str, Any]:
    return {
        "kind": "export",
        "weights": {"digest": digest, "format": "pt"},
        "export": {"name": "onnx", "format": "onnx"},
    }


def evaluate_run(runner: Any, digest: str, artifact: Any) -> dict[str, Any]:  # noqa: F811
    return {
        "kind": "evaluate",
        "weights": {"digest": digest},
        "artifacts": [json.loads(artifact.model_dump_json(by_alias=True))],
        "datasetDigest": runner.dataset,
        "evaluation": {"split": "val"},
    }


def test_ultralytics_guard_does_not_run_a_checkpoints_code(
    runner: Any,  # noqa: F811
    store: Store,
    tmp_path: Path,
) -> None:
    owned = tmp_path / "owned"
    digest = hostile(store, tmp_path, f"open({str(owned)!r}, 'w')")
    outcome = runner.run("export", export_run(digest), exitcodes.USER_ERROR)
    assert outcome.reason == "ExportFailed"
    run = runner.training("owned", model=None, baseWeights={"digest": digest})
    assert runner.run("train", run, exitcodes.USER_ERROR).reason == "WeightsUnreadable"
    assert not owned.exists()


CONNECT = """
import json, os, socket, urllib.request
found = {}
for name, attempt in {
    "socket": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    "http": lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=1),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
}.items():
    try:
        attempt(); found[name] = "open"
    except Exception as error:
        found[name] = str(error)
open(os.environ["MODELYARD_WORK"] + "/outputs/found.json", "w").write(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["export", "evaluate"])
def test_code_that_runs_all_the_same_has_no_network(
    runner: Any,  # noqa: F811
    store: Store,
    exported: Any,
    tmp_path: Path,
    kind: str,
) -> None:
    digest = hostile(store, tmp_path, CONNECT)
    run = export_run(digest) if kind == "export" else evaluate_run(runner, digest, exported)
    outcome = runner.run(kind, run, code=exitcodes.USER_ERROR, **UNGUARDED)
    assert outcome.reason == {"export": "ExportFailed", "evaluate": "WeightsUnreadable"}[kind]
    outputs = runner.logs[-1].parent / "work/outputs"
    found = json.loads((outputs / "found.json").read_text())
    assert all("Permission denied" in words for words in found.values()), found


def test_code_that_forges_the_result_is_not_heard(
    runner: Any,  # noqa: F811
    store: Store,
    exported: Any,
    tmp_path: Path,
) -> None:
    """Attack: write the best outcome into the termination log, no boxes, and end well."""
    perfect = {"artifact": "onnx", "metrics": {"mAP50": 1.0, "mAP50to95": 1.0}}
    forged = json.dumps({"reason": "Succeeded", "evaluate": {"evaluations": [perfect]}})
    program = f"""
import os
open(os.environ["MODELYARD_TERMINATION_LOG"], "w").write({forged!r})
os._exit(0)
"""
    digest = hostile(store, tmp_path, program)
    run = evaluate_run(runner, digest, exported)
    outcome = runner.run("evaluate", run, code=exitcodes.USER_ERROR, **UNGUARDED)
    assert outcome.reason == "UntrustedOutput"
    assert outcome.result is None


def test_boxes_that_weights_claim_change_no_figure_but_their_own(
    runner: Any,  # noqa: F811
    store: Store,
    honest: str,
    exported: Any,
    tmp_path: Path,
) -> None:
    """Attack: claim no boxes, so that parity passes; or the right ones, which it cannot see."""
    run = evaluate_run(runner, honest, exported)
    fair = runner.run("evaluate", run).of(EvaluateResult).evaluations[0]
    program = """
import os
work = os.environ["MODELYARD_WORK"]
for root, folders, names in os.walk(work + "/inputs"):
    assert not [n for n in names if n.endswith(".txt")], "labels are here"
open(work + "/outputs/source.boxes", "w").close()
with open(work + "/outputs/source.json", "w") as claim:
    claim.write('{"classes": ["square", "disk"], "milliseconds": 0.1}')
os._exit(0)
"""
    digest = hostile(store, tmp_path, program)
    run = evaluate_run(runner, digest, exported)
    artifact, source = runner.run("evaluate", run, **UNGUARDED).of(EvaluateResult).evaluations
    assert artifact.metrics == fair.metrics
    assert source.metrics["mAP50"] == 0
