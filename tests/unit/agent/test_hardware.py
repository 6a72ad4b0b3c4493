"""How a version is served on a server, from the server's run spec."""

from __future__ import annotations

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.contract.run import AgentRun, StoreLocation
from modelyard.workloads.agent.hardware import Hardware


def _assignment(**changes: str) -> Assignment:
    given = {
        "modelVersion": "shelf-1",
        "version": 1,
        "artifact": "onnx",
        "format": "onnx",
        "digest": "sha256:" + "a" * 64,
        "manifestDigest": "sha256:" + "b" * 64,
    }
    return Assignment.model_validate(given | changes)


@pytest.mark.parametrize(
    ("hardware", "copies", "threads", "batch"),
    [
        pytest.param(Hardware(cpus=4), 2, 2, 8, id="defaults"),
        pytest.param(Hardware(cpus=4, instances=1), 1, 4, 8, id="one copy"),
        pytest.param(Hardware(cpus=4, instances=4), 4, 1, 8, id="a copy for each CPU"),
        pytest.param(Hardware(cpus=4, max_batch_size=1), 2, 2, 1, id="one by one"),
        pytest.param(Hardware(cpus=4, gpus=1, max_batch_size=32), 1, 4, 32, id="a GPU"),
    ],
)
def test_what_the_user_says_of_the_server_goes_before_defaults(
    hardware: Hardware, copies: int, threads: int, batch: int
) -> None:
    chosen = hardware.settings(_assignment())
    size = 11_000_000
    assert (chosen.copies(size), chosen.threads(size)) == (copies, threads)
    assert chosen.max_batch == batch
    assert chosen.gpu is bool(hardware.gpus)


def test_how_batches_are_formed_comes_from_the_run_spec() -> None:
    run = AgentRun(
        namespace="n", deployment="d", model_line="shelf", store=StoreLocation(url="file:///s"),
        max_batch_size=16, preferred_batch_sizes=[8, 16], max_batch_delay_microseconds=5000,
    )  # fmt: skip
    chosen = Hardware.of(run).settings(_assignment())
    assert (chosen.max_batch, chosen.preferred_batches) == (16, (8, 16))
    assert chosen.max_delay_microseconds == 5000


def test_tensorrt_engines_run_on_the_gpu() -> None:
    assert Hardware(cpus=4).settings(_assignment(format="tensorrt")).gpu
