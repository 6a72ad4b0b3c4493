"""Pods that export, as processes: a directory store, and tiny ONNX files to publish.

Real are the stages' own processes, files and store. Containers' walls (mounts, credentials) are
shown by tests/unit/core/test_stages.py and, on a kubelet, by tests/e2e/test_chain.py.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract import paths
from modelyard.contract.run import ExportRun, StoreLocation
from modelyard.store import Store
from modelyard.workloads.export import job
from modelyard.workloads.runner import execute, execute_stage

from ...workloads.workload_runner import WorkloadRunner

SIZE, COLUMNS, BOXES = 64, 6, 84


def network(**metadata: str) -> onnx.ModelProto:
    """A detector of two classes, with Ultralytics' metadata, that always answers the same."""
    values = np.zeros((1, COLUMNS, BOXES), np.float32)
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, COLUMNS, BOXES])
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["boxes", "mean"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [image], [output], [numpy_helper.from_array(values, "boxes"), axes]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    known = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "imgsz": f"[{SIZE}, {SIZE}]"}
    for key, value in (known | metadata).items():
        model.metadata_props.add(key=key, value=value)
    return model


class ExportPod(WorkloadRunner):
    """Runs an export's pod with a FakeConverter in place of the stage that loads the weights."""

    def store_client(self) -> Store:
        return Store.open(StoreLocation(**self.store))

    def fetched(self, **run: Any) -> Path:
        """A new pod whose first stage has fetched the weights; returns its `outputs`."""
        digest = self.store_client().put_bytes(b"weights")
        spec = {
            "kind": "export",
            "weights": {"digest": digest, "format": "pt"},
            "export": {"name": "onnx", "format": "onnx"},
        }
        pod = self.new_pod(spec | run)
        with self.own_process():
            assert execute_stage(job.fetch, ExportRun, paths.INPUTS) == 0
        return pod / "work" / "outputs"

    def published(self, code: int = 0) -> Any:
        """The last stage's outcome, with its exit code checked; in this process, for importing onnx
        anew for each attack takes seconds. `finish("export")` starts the real one."""
        with self.own_process():
            assert execute(job.handle, ExportRun) == code
        return self.outcome()

    @contextmanager
    def own_process(self) -> Iterator[None]:
        """This process as one of the last pod's."""
        before, log = signal.getsignal(signal.SIGTERM), logging.getLogger()
        handlers, level = log.handlers[:], log.level
        with pytest.MonkeyPatch.context() as patch:
            for name, path in (("RUN", "run.json"), ("WORK", "work"), ("SCRATCH", "scratch")):
                patch.setenv(f"MODELYARD_{name}", str(self.pod / path))
            patch.setenv("MODELYARD_TERMINATION_LOG", str(self.pod / "termination"))
            try:
                yield
            finally:
                signal.signal(signal.SIGTERM, before)
                log.handlers[:] = handlers
                log.setLevel(level)

    def blobs(self) -> set[str]:
        """What the store holds."""
        folder = self.folder / "store" / "blobs" / "sha256"
        return {one.name for one in folder.iterdir()} if folder.is_dir() else set()

    @property
    def pod(self) -> Path:
        """The last pod's folder."""
        return self.logs[-1].parent

    def spec_seen(self) -> dict[str, Any]:
        """The run spec that the isolated stage reads."""
        found: dict[str, Any] = json.loads((self.pod / "work/inputs/run.json").read_text())
        return found


FakeConverter = Callable[[Path], None]
"""Stands for the process that unpickles a hostile .pt file: it may do anything in `outputs`."""


@pytest.fixture
def pod(tmp_path: Path) -> ExportPod:
    return ExportPod(tmp_path)
