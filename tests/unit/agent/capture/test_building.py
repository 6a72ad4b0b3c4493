"""Capture as the agent puts it together: from a drawn request to a file in the spool.

Played: Triton's answers and the intake; real: everything of capture, settings, the disk.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelyard.api.monitoring import Redaction, ServerCapture, ServerMonitoring
from modelyard.contract.capture import unpack
from modelyard.contract.run import AgentRun, StoreLocation
from modelyard.serving.draws import Answer, Draw
from modelyard.serving.names import Generation
from modelyard.serving.switch import Serving
from modelyard.workloads.agent.capture import Capture
from modelyard.workloads.agent.capture.network import NetworkError, ServingNetwork
from modelyard.workloads.agent.settings import AgentSettings
from modelyard.workloads.agent.watch import Assigned

from .played import MIDNIGHT, jpeg

GENERATION = Generation("shelf", 3, "0" * 8)
PERSON = Redaction(faces=False, classes=["person"], allow_trained_classes=True)


class Triton:
    """Answers every tensor with one person in the middle of the network's input."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, np.ndarray]] = []

    async def infer_tensor(
        self, name: str, tensor_name: str, tensor: np.ndarray, *, seconds: float
    ) -> Any:
        assert tensor_name == "images"
        self.asked.append((name, tensor))
        raw = np.zeros((1, 6, 3), np.float32)
        raw[0, :4, 0] = (32, 32, 16, 16)
        raw[0, 5, 0] = 0.1  # class 1, below what is returned to clients
        return SimpleNamespace(outputs={"output0": raw})


def record() -> Any:
    manifest = SimpleNamespace(
        input=SimpleNamespace(dtype="FP32", name="images"),
        outputs=[SimpleNamespace(name="output0")],
        imgsz=(64, 64),
        suppressed=False,
        classes=("can", "person"),
        file=SimpleNamespace(digest=f"sha256:{'a' * 64}"),
    )
    pipeline = SimpleNamespace(iou=0.7, max_detections=300, confidence=0.25)
    return SimpleNamespace(
        version=3, manifest=manifest, settings=SimpleNamespace(pipeline=pipeline)
    )


class Switcher:
    async def serving(self) -> Serving:
        return Serving(GENERATION, record())


def drawn(generation: str = GENERATION.name) -> Draw:
    none = np.zeros((0, 4), np.float32)
    answer = Answer(
        version=3,
        milliseconds=5.0,
        boxes=none,
        scores=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int32),
        top_score=-2.0,
        embedding=None,
    )
    return Draw(
        image=jpeg(size=(64, 64)),
        source="door",
        time=MIDNIGHT,
        requests=300,
        generation=generation,
        size=(64, 64),
        answer=answer,
    )


@pytest.fixture
def assigned() -> Assigned:
    made = Assigned()
    made.monitoring = ServerMonitoring(capture=ServerCapture(redact=PERSON))
    made.server = {"spec": {}}
    return made


@pytest.fixture
def capture(tmp_path: Path, assigned: Assigned) -> Capture:
    run = AgentRun(
        namespace="shop",
        deployment="shelf",
        model_line="shelf",
        store=StoreLocation(url="s3://modelyard/shop"),
    )
    settings = AgentSettings(
        run=run, pod_name="shelf-a", namespace="shop", cache=tmp_path / "cache"
    )
    made = Capture(
        settings,
        triton=Triton(),  # type: ignore[arg-type]
        switcher=Switcher(),  # type: ignore[arg-type]
        assigned=assigned,
        pending=lambda: 0,
        synchronised=lambda: True,
        on_report=lambda: None,
        clock=lambda: MIDNIGHT,
    )
    return made


async def running(capture: Capture) -> asyncio.Task[None]:
    task = asyncio.create_task(capture.run())
    while capture._capturer is None:  # noqa: ASYNC110 - it sends no event
        await asyncio.sleep(0)
    return task


async def until_spooled(folder: Path) -> list[Path]:
    for _ in range(400):
        found = [*(folder / "captures" / "open").glob("*.tar")]
        if found:
            return found
        await asyncio.sleep(0.01)
    return []


async def test_a_drawn_request_becomes_a_redacted_capture(capture: Capture, tmp_path: Path) -> None:
    task = await running(capture)
    await capture.offer(drawn(), None, False)
    [path] = await until_spooled(tmp_path / "cache")
    task.cancel()
    [one] = unpack(path.read_bytes())
    assert one.record.answer.model_version == "shelf-3"
    assert one.record.inclusion is not None
    assert one.record.inclusion.requests == 300
    assert one.record.redaction is not None
    [region] = one.record.redaction.regions
    assert region == (18, 18, 46, 46)
    assert one.record.clock_synchronised


async def test_requests_of_another_generation_are_left_alone(
    capture: Capture, tmp_path: Path
) -> None:
    task = await running(capture)
    await capture.offer(drawn("shelf-2-11111111"), None, False)
    await asyncio.sleep(0.1)
    task.cancel()
    assert not [*(tmp_path / "cache").rglob("*.tar")]


async def test_without_capture_in_its_spec_nothing_is_kept(
    capture: Capture, assigned: Assigned
) -> None:
    assigned.monitoring = ServerMonitoring()
    task = await running(capture)
    await capture.offer(drawn(), None, False)
    task.cancel()
    assert capture.status is None


async def test_a_busy_server_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.workloads.agent.capture.network._WAIT_SECONDS", 0.001)
    monkeypatch.setattr("modelyard.workloads.agent.capture.network._PATIENCE_SECONDS", 0.005)
    triton = Triton()
    network = ServingNetwork(triton, "shelf", record, lambda: 99)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="busy"):
        await network.boxes(np.zeros((10, 10, 3), np.uint8), 0.1)
    assert triton.asked == []
