"""Fetching ahead, over a real directory store that can be held up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec
from modelyard.contract.paths import blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store import Store, sha256_bytes
from modelyard.workloads.agent.artifacts import ArtifactCache
from modelyard.workloads.agent.fetching import BackgroundFetch
from modelyard.workloads.agent.inuse import in_use
from modelyard.workloads.agent.memory import Memory, Served
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.prestage import Stager
from modelyard.workloads.agent.watch import Assigned

from .stores import GatedStore

SIZE = 100_000


class Scene:
    """A ModelServer whose assigned version, 1, serves."""

    def __init__(self, folder: Path, quota: int = 10 * SIZE) -> None:
        self.store = GatedStore(Store.open(StoreLocation(url=f"file://{folder}/store")))
        self.folder = folder
        self.revision = 0
        self.reports = 0
        self.assigned = Assigned()
        self.memory = Memory(folder / "cache", "ns", "d")
        self.cache = ArtifactCache(
            folder / "cache", self.store, quota, lambda: in_use(self.assigned, self.memory)
        )
        self.stager = Stager(
            fetching=BackgroundFetch(self.cache, self.assigned, Metrics("m")),
            assigned=self.assigned,
            on_report=self._reported,
        )
        one = self.publish(1)
        self.cache.fetch(one)
        self.memory.remember(
            Served(assignment=one, generation="m-1-x", since="2026-01-01T00:00:00Z")
        )
        self.want(assigned=one)
        self.assigned.idle.set()

    def _reported(self) -> None:
        self.reports += 1

    def publish(self, version: int) -> Assignment:
        content = bytes([version]) * SIZE
        manifest = ArtifactManifest(
            format="onnx",
            file=ArtifactFile(name="m.onnx", digest=sha256_bytes(content), size_bytes=SIZE),
            classes=("cat",),
            imgsz=(64, 64),
            input=TensorSpec(name="images", dtype="FP32", shape=(1, 3, 64, 64)),
            outputs=(TensorSpec(name="output0", dtype="FP32", shape=(1, 5, 84)),),
        )
        return Assignment(
            model_version=f"m-{version}",
            version=version,
            artifact="onnx",
            format="onnx",
            digest=self.store.put_bytes(content),
            manifest_digest=self.store.put_bytes(manifest.dump()),
        )

    def want(self, **spec: Assignment | None) -> None:
        """The operator writes the spec."""
        self.revision += 1
        before = (self.assigned.server or {}).get("spec") or {}
        changes = {k: v and v.model_dump(by_alias=True, mode="json") for k, v in spec.items()}
        metadata = {"uid": "u", "resourceVersion": str(self.revision)}
        self.assigned.see({"metadata": metadata, "spec": {**before, **changes}})

    def cached(self, one: Assignment) -> bool:
        return (self.folder / "cache" / blob_key(one.digest)).exists()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def waiting(scene: Scene) -> None:
    assert await asyncio.to_thread(scene.store.waiting.wait, 10)


async def test_staged_version_is_fetched_and_said(scene):
    two = scene.publish(2)
    scene.want(staged=two)
    assert await scene.stager.step() is None
    assert scene.cached(two)
    assert scene.stager.report.digest == two.digest
    assert scene.stager.report.failure is None

    downloads = len(scene.store.downloads)
    assert await scene.stager.step() is None
    assert len(scene.store.downloads) == downloads

    scene.want(staged=None)
    await scene.stager.step()
    assert scene.stager.report is None
    assert scene.reports == 2


async def test_fetch_gives_way_to_another_assignment_and_goes_on_after_it(scene):
    two, three = scene.publish(2), scene.publish(3)
    scene.store.gate.clear()
    scene.want(staged=two)
    stage = asyncio.create_task(scene.stager.step())
    await waiting(scene)

    scene.want(assigned=three)
    scene.store.gate.set()
    assert await asyncio.wait_for(stage, 10) == 0
    assert not scene.cached(two)
    assert scene.stager.report is None
    # Nothing is fetched while the assignment is not through.
    stage = asyncio.create_task(scene.stager.step())
    await asyncio.to_thread(scene.cache.fetch, three)
    assert not stage.done()

    scene.assigned.idle.set()
    await asyncio.wait_for(stage, 10)
    assert scene.cached(two)


async def test_fetch_of_what_is_assigned_meanwhile_is_shared(scene):
    two = scene.publish(2)
    scene.store.gate.clear()
    scene.want(staged=two)
    stage = asyncio.create_task(scene.stager.step())
    await waiting(scene)

    scene.want(assigned=two, staged=two)
    fetch = asyncio.create_task(asyncio.to_thread(scene.cache.fetch, two))
    scene.store.gate.set()
    await asyncio.wait_for(asyncio.gather(stage, fetch), 10)

    assert scene.store.downloads.count(two.digest) == 1
    assert scene.stager.report.failure is None


async def test_wish_that_goes_ends_the_fetch(scene):
    two = scene.publish(2)
    scene.store.gate.clear()
    scene.want(staged=two)
    stage = asyncio.create_task(scene.stager.step())
    await waiting(scene)
    scene.want(staged=None)
    scene.store.gate.set()
    await asyncio.wait_for(stage, 10)
    await scene.stager.step()
    assert not scene.cached(two)
    assert scene.stager.report is None


async def test_failure_is_said_and_tried_again_later(scene):
    two = scene.publish(2)
    blob = scene.folder / "store" / blob_key(two.digest)
    content = blob.read_bytes()
    blob.unlink()
    scene.want(staged=two)
    assert 1 < await scene.stager.step() < 3
    assert scene.stager.report.failure.startswith("ArtifactMissing: ")

    blob.write_bytes(content)
    assert await scene.stager.step() is None
    assert scene.stager.report.failure is None


async def test_version_that_does_not_fit_beside_the_serving_one_has_no_space(tmp_path):
    scene = Scene(tmp_path, quota=2 * SIZE)
    scene.want(staged=scene.publish(2))
    await scene.stager.step()
    assert scene.stager.report.failure.startswith("NoSpace: ")


def uses(*some: Any) -> set[str]:
    return {digest for one in some for digest in (one.digest, one.manifest_digest)}


def test_the_profile_of_what_serves_stays_too(scene):
    digest = "sha256:" + "d" * 64
    one = scene.publish(1).model_copy(update={"profile_digest": digest})
    scene.want(assigned=one)
    assert digest in in_use(scene.assigned, scene.memory)


def test_what_serves_is_wanted_is_ahead_or_is_for_a_rollback_stays(scene):
    one, two, three = (scene.publish(number) for number in (1, 2, 3))
    scene.memory.remember(Served(assignment=two, generation="m-2-x", since="2026-01-02T00:00:00Z"))
    scene.want(assigned=two, staged=three)
    assert in_use(scene.assigned, scene.memory) == uses(one, two, three)
    # While the next one is brought up, a rollback goes to the one that serves.
    scene.want(assigned=three, staged=None)
    assert in_use(scene.assigned, scene.memory) == uses(two, three)
