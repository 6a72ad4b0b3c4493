"""Running a version beside: what happens when, with fakes for Triton and its spool."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelyard.serving.names import Generation
from modelyard.serving.spool import Sample
from modelyard.serving.switch import Serving, SwitchError
from modelyard.serving.triton import InferenceError, Prediction, TritonUnavailableError
from modelyard.workloads.agent.hardware import Hardware
from modelyard.workloads.agent.shadow import BUSY_PENDING, Shadower
from modelyard.workloads.agent.watch import Assigned

DIGEST = f"sha256:{'a' * 64}"
BOX = np.array([[0, 0, 10, 10]], np.float32)


def version(number: int) -> dict[str, Any]:
    return {
        "modelVersion": f"m-{number}",
        "version": number,
        "artifact": "onnx",
        "format": "onnx",
        "digest": DIGEST[:-1] + str(number),
        "manifestDigest": DIGEST,
    }


def generation(number: int) -> Generation:
    return Generation("m", number, "0" * 8)


def copy(number: int = 1) -> Sample:
    return Sample(b"image", number, 1.0, BOX, np.array([0.9], np.float32), np.array([0], np.int32))


@dataclass
class FakeTriton:
    up: bool = True
    known: set[str] = field(default_factory=set)
    answer: Any = None
    error: Any = None
    asked: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """How long an answer takes."""

    async def ready(self) -> bool:
        return self.up

    async def model_ready(self, name: str) -> bool:
        if self.error is not None:
            raise self.error
        return name in self.known

    async def infer_image(
        self, name: str, image: bytes, *, seconds: float, prove: bool
    ) -> Prediction:
        assert prove, "clients are not offered what is only shadowed"
        self.asked.append(name)
        await asyncio.sleep(self.seconds)
        if self.answer is not None:
            raise self.answer
        if name not in self.known:
            raise InferenceError(f"unknown model {name}")
        return Prediction(name, "1", {"boxes": BOX, "classes": np.array([0], np.int32)})


@dataclass
class FakeSwitcher:
    triton: FakeTriton
    serves: int | None = 1
    error: Exception | None = None
    prepared: list[int] = field(default_factory=list)
    released: int = 0

    async def serving(self) -> Serving | None:
        return None if self.serves is None else Serving(generation(self.serves), None)

    async def prepare(self, number: int, *_: Any) -> Generation:
        self.prepared.append(number)
        if self.error is not None:
            raise self.error
        self.triton.known.add(generation(number).name)
        return generation(number)

    async def release(self) -> None:
        self.released += 1
        self.triton.known.clear()


@dataclass
class FakeSpool:
    samples: list[Sample] = field(default_factory=list)
    copied: tuple[float, Generation] | None = None
    dropped: int = 0
    error: Exception | None = None

    def control(self, share: float, wanted: Generation) -> None:
        if self.error is not None:
            raise self.error
        self.copied = (share, wanted)

    def off(self) -> None:
        self.copied = None
        self.samples = []
        self.dropped = 0

    def take(self) -> list[Sample]:
        taken, self.samples = self.samples, []
        return taken


class FakeFetching:
    stopping = False

    async def fetch(self, _wish: Any, _still: Any) -> Any:
        manifest = SimpleNamespace(classes=("cat",))
        return SimpleNamespace(manifest=manifest, model_file=None)


class Scene:
    def __init__(self) -> None:
        self.triton = FakeTriton()
        self.switcher = FakeSwitcher(self.triton)
        self.spool = FakeSpool()
        self.pending = 0.0
        self.said: list[Any] = []
        """Each report that was worth a write."""
        self.revision = 0
        self.status: dict[str, Any] = {}
        self.assigned = Assigned()
        self.shadower = self.agent()
        self.want(assigned=version(1))
        self.assigned.idle.set()

    def agent(self) -> Shadower:
        return Shadower(
            triton=self.triton,  # type: ignore[arg-type]
            switcher=self.switcher,  # type: ignore[arg-type]
            spool=self.spool,  # type: ignore[arg-type]
            fetching=FakeFetching(),  # type: ignore[arg-type]
            assigned=self.assigned,
            hardware=Hardware(),
            pending=lambda: self.pending,
            on_report=lambda: self.said.append(self.shadower.report),
        )

    def want(self, **spec: Any) -> None:
        self.revision += 1
        before = (self.assigned.server or {}).get("spec") or {}
        metadata = {"uid": "u", "resourceVersion": str(self.revision)}
        self.assigned.see({"metadata": metadata, "spec": {**before, **spec}, "status": self.status})

    def shadow(self, number: int = 2, share: float = 0.5, busy: int = 100) -> None:
        self.want(shadow={"version": version(number), "share": share, "busyPercent": busy})

    async def steps(self, count: int = 2) -> float | None:
        delay: float | None = None
        for _ in range(count):
            delay = await asyncio.wait_for(self.shadower.step(), 5)
        return delay


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_version_is_brought_up_beside_and_answers_copies(scene):
    scene.shadow(share=0.5)
    await scene.steps()
    assert scene.switcher.prepared == [2]
    assert scene.spool.copied == (0.5, generation(1))
    assert (scene.said[-1].version, scene.said[-1].images) == (2, 0)

    scene.spool.samples = [copy(), copy(), copy(number=7)]
    scene.spool.dropped = 3
    assert await scene.steps(1) == 0

    found = scene.shadower.report
    assert (found.images, found.matched, found.dropped) == (2, 2, 3)
    assert scene.triton.asked == [generation(2).name] * 2

    scene.shadow(share=0.1)
    await scene.steps(1)
    assert scene.spool.copied == (0.1, generation(1))
    assert scene.shadower.report.images == 2


async def test_wish_that_goes_ends_it_once_nothing_is_due(scene):
    scene.shadow()
    await scene.steps()
    scene.want(shadow=None, assigned=version(2))
    ending = asyncio.create_task(scene.shadower.step())
    for _ in range(500):
        if scene.said[-1] is None:
            break
        await asyncio.sleep(0.01)
    assert scene.said[-1] is None
    # The switch to what was prepared goes first.
    assert scene.switcher.released == 0
    scene.assigned.idle.set()
    await asyncio.wait_for(ending, 5)
    assert scene.switcher.released == 1
    assert scene.spool.copied is None
    # What requests in flight copied is cleared away, too.
    scene.spool.samples = [copy()]
    assert await scene.steps(1) is None
    assert scene.spool.samples == []
    assert scene.switcher.released == 1


async def test_assigned_version_is_copied_no_more(scene):
    scene.shadow()
    await scene.steps()
    scene.want(assigned=version(2))
    scene.switcher.serves = 2
    await scene.steps(1)
    assert scene.spool.copied is None
    # Rolled back: compared again.
    scene.want(assigned=version(1))
    scene.assigned.idle.set()
    scene.switcher.serves = 1
    await scene.steps()
    assert scene.switcher.prepared == [2, 2]
    assert scene.spool.copied == (0.5, generation(1))


async def test_nothing_starts_while_another_version_is_brought_up(scene):
    scene.assigned.idle.clear()
    scene.shadow()
    waiting = asyncio.create_task(scene.shadower.step())
    for _ in range(20):
        await asyncio.sleep(0)
    assert scene.switcher.prepared == []
    scene.assigned.idle.set()
    await asyncio.wait_for(waiting, 5)
    assert scene.switcher.prepared == [2]


async def test_version_that_is_refused_is_named_and_tried_again_later(scene):
    scene.switcher.error = SwitchError("load", 2, 1, "no such operator")
    scene.shadow()
    delay = await scene.steps(2)
    assert 10 < delay < 30
    assert scene.shadower.report.failure.startswith("LoadFailed: version 2 failed to load: no such")
    assert scene.spool.copied is None
    assert scene.switcher.prepared == [2]


async def test_version_that_takes_triton_down_gets_no_second_chance(scene):
    scene.switcher.error = TritonUnavailableError("cannot be reached")
    scene.triton.up = False
    scene.shadow()
    assert await scene.steps(2) is None
    scene.triton.up, scene.switcher.error = True, None
    assert await scene.steps(2) is None
    assert scene.switcher.prepared == [2]
    assert "Triton ended while it loaded m-2" in scene.shadower.report.failure

    # Not by an agent that starts anew either.
    scene.status = {"shadow": scene.shadower.report.model_dump(by_alias=True)}
    scene.shadow()
    scene.shadower = scene.agent()
    assert await scene.steps(2) is None
    assert scene.switcher.prepared == [2]
    assert "Triton ended" in scene.shadower.report.failure

    # Another version does.
    scene.shadow(3)
    await scene.steps(2)
    assert scene.switcher.prepared == [2, 3]
    assert scene.shadower.report.failure is None


async def test_triton_that_ends_again_and_again_beside_a_version_is_left_to_the_other(scene):
    scene.shadow()
    for _ in range(2):
        await scene.steps(2)
        scene.triton.answer = TritonUnavailableError("cannot be reached")
        scene.triton.error = TritonUnavailableError("cannot be reached")
        scene.spool.samples = [copy()]
        await scene.steps(1)
        scene.triton.answer = scene.triton.error = None
        scene.triton.known.clear()
    await scene.steps(2)
    assert scene.shadower.report.failure is None
    scene.triton.error = scene.triton.answer = TritonUnavailableError("cannot be reached")
    scene.spool.samples = [copy()]
    await scene.steps(1)
    scene.triton.answer = scene.triton.error = None
    assert await scene.steps(2) is None
    assert scene.switcher.prepared == [2, 2, 2]
    assert scene.shadower.report.failure.startswith("TritonCrashed: Triton ended 3 times while m-2")
    assert scene.spool.copied is None


async def test_copies_wait_while_requests_do(scene):
    scene.shadow()
    await scene.steps()
    scene.spool.samples = [copy()]
    scene.pending = BUSY_PENDING
    assert await scene.steps(1) > 0
    assert scene.triton.asked == []
    scene.pending = 0
    await scene.steps(1)
    assert len(scene.triton.asked) == 1


async def test_failure_of_the_version_counts_and_of_a_triton_that_forgot_it_does_not(scene):
    scene.shadow()
    await scene.steps()
    scene.triton.answer = InferenceError("out of memory")
    scene.spool.samples = [copy()]
    await scene.steps(1)
    assert scene.shadower.report.failures == 1

    scene.triton.answer = None
    scene.triton.known.clear()
    scene.spool.samples = [copy(), copy()]
    await scene.steps(1)
    assert scene.shadower.report.failures == 1
    await scene.steps(1)
    assert scene.switcher.prepared == [2, 2]
    assert scene.shadower.report.failures == 1


async def test_version_that_is_shadowed_again_is_counted_anew(scene):
    scene.shadow()
    await scene.steps()
    scene.spool.samples = [copy()]
    await scene.steps(1)
    scene.status = {"shadow": scene.shadower.report.model_dump(by_alias=True)}
    scene.want(shadow=None)
    await scene.steps(1)
    scene.shadow()
    await scene.steps()
    assert scene.shadower.report.images == 0


async def test_lost_copies_are_counted_over_interruptions(scene):
    scene.shadow()
    await scene.steps()
    scene.spool.dropped = 5
    scene.triton.known.clear()
    scene.spool.samples = [copy()]
    await scene.steps(2)
    assert scene.shadower.report.dropped == 5
    scene.spool.dropped = 2
    assert scene.shadower.report.dropped == 7


async def test_copies_that_cannot_be_kept_are_named(scene):
    scene.spool.error = PermissionError("/spool/m: not yours")
    scene.shadow()
    await scene.steps()
    assert "copies of requests cannot be kept: /spool/m" in scene.shadower.report.failure
    scene.spool.error = None
    await scene.steps()
    assert scene.shadower.report.failure is None


async def test_agent_that_restarts_goes_on_counting(scene):
    scene.shadow()
    await scene.steps()
    scene.spool.samples = [copy()]
    await scene.steps(1)
    scene.status = {"shadow": scene.shadower.report.model_dump(by_alias=True)}
    scene.shadow()
    scene.shadower = scene.agent()
    await scene.steps()
    assert scene.shadower.report.images == 1


async def test_copies_take_no_more_than_their_share_of_the_time(scene):
    scene.shadow(busy=25)
    await scene.steps()
    scene.triton.seconds = 0.02
    scene.spool.samples = [copy()] * 4
    started = time.monotonic()
    await scene.steps(1)
    assert time.monotonic() - started >= 4 * 0.02 / 0.25
