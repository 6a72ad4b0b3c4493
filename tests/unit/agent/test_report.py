"""When the agent writes its ModelServer's status, and when it does not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api.modelserver import Figures, LoadedVersion, ShadowFigures, Traffic
from modelyard.api.modelserver import ModelServerPhase as Phase
from modelyard.contract.run import OFTEN_SECONDS
from modelyard.contract.statustext import timestamp
from modelyard.workloads.agent.apiserver import ApiError
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.report import PROGRESS_SECONDS, Reporter
from modelyard.workloads.agent.status import NOTHING, Beside, Reason, Report
from modelyard.workloads.agent.watch import Assigned

from ..mergepatch import merged

DIGEST = f"sha256:{'a' * 64}"
VERSION = {
    "modelVersion": "m-1",
    "version": 1,
    "artifact": "onnx",
    "format": "onnx",
    "digest": DIGEST,
    "manifestDigest": DIGEST,
}
EVERY = 60.0


@dataclass
class Server:
    """Holds one ModelServer and merges patches into its status, as RFC 7396 says."""

    state: dict[str, Any]
    patches: list[dict[str, Any]] = field(default_factory=list)

    async def patch_status(self, plural: str, name: str, uid: str, patch: Any) -> Any:
        assert (plural, name) == ("modelservers", "s")
        if uid != self.state["metadata"]["uid"]:
            raise ApiError("replaced", 409)
        self.patches.append(patch)
        revision = int(self.state["metadata"]["resourceVersion"]) + 1
        metadata = {**self.state["metadata"], "resourceVersion": str(revision)}
        status = merged(self.state.get("status") or {}, patch)
        self.state = {**self.state, "metadata": metadata, "status": status}
        return self.state


class Scene:
    """A reporter with a clock that stands until a test moves it."""

    def __init__(self, *, edge: bool = False, since: datetime | None = None) -> None:
        self.now = 1000.0
        self.server = Server(
            {
                "metadata": {"generation": 1, "uid": "u", "resourceVersion": "1"},
                "spec": {"podName": "p", "assigned": VERSION},
            }
        )
        loaded = LoadedVersion(
            model_version="m-1",
            version=1,
            digest=DIGEST,
            since=timestamp(since or datetime.now(UTC) - timedelta(hours=1)),
        )
        self.report = Report(Phase.READY, Reason.SERVING, "m-1 answers", 1, loaded)
        self.beside = NOTHING
        self.written = 0
        self.assigned = Assigned()
        self.assigned.see(self.server.state)
        self.reporter = Reporter(
            api=self.server,  # type: ignore[arg-type]
            assigned=self.assigned,
            server_name="s",
            pod_name="p",
            report=lambda: self.report,
            beside=lambda: self.beside,
            written=self._written,
            every_seconds=EVERY,
            heartbeat=edge,
            metrics=Metrics("m"),
            clock=lambda: self.now,
        )

    def _written(self) -> None:
        self.written += 1

    def spec(self, **changes: Any) -> None:
        """The operator changes the spec."""
        metadata = self.server.state["metadata"]
        revision = str(int(metadata["resourceVersion"]) + 1)
        self.server.state = {
            **self.server.state,
            "metadata": {**metadata, "resourceVersion": revision},
            "spec": {**self.server.state["spec"], **changes},
        }
        self.assigned.see(self.server.state)

    async def writes(self) -> list[dict[str, Any]]:
        """Patches of one look at what there is to write."""
        before = len(self.server.patches)
        await self.reporter.write()
        return self.server.patches[before:]


def figures(requests: int) -> Figures:
    return Figures(version=1, seconds=60, requests=requests, latency=[requests, *[0] * 23])


async def test_server_with_nothing_new_to_say_writes_nothing():
    scene = Scene()
    assert len(await scene.writes()) == 1
    for _ in range(5):
        scene.now += EVERY
        assert await scene.writes() == []


async def test_edge_server_with_nothing_new_says_that_it_is_there_once_in_each_period():
    scene = Scene(edge=True)
    assert len(await scene.writes()) == 1
    scene.now += 5
    assert await scene.writes() == []
    for _ in range(3):
        scene.now += EVERY
        (patch,) = await scene.writes()
        assert list(patch) == ["reportedAt"]
        assert await scene.writes() == []


async def test_only_the_agent_of_the_pod_in_the_spec_reports():
    scene = Scene(edge=True)
    scene.spec(podName="another")
    assert await scene.writes() == []
    scene.now += EVERY
    assert await scene.writes() == []
    scene.spec(podName="p")
    (patch,) = await scene.writes()
    assert patch["loaded"]["version"] == 1


async def test_what_was_measured_waits_for_its_time_or_goes_along():
    scene = Scene()
    await scene.writes()
    scene.now += 1
    scene.beside = Beside(traffic=Traffic(requests=5, failures=0), figures=figures(5))
    assert await scene.writes() == []

    scene.now += 1.2 * EVERY
    (patch,) = await scene.writes()
    assert set(patch) == {"traffic", "figures", "reportedAt"}
    assert scene.written == 1

    scene.beside = Beside(traffic=Traffic(requests=7, failures=0), figures=figures(7))
    scene.report = replace(scene.report, failures=1, message="m-2 fails")
    (patch,) = await scene.writes()
    assert patch["figures"]["requests"] == 7
    assert patch["failures"] == 1


async def test_server_that_nobody_asks_any_more_reports_0_once():
    scene = Scene()
    scene.beside = Beside(figures=figures(5))
    scene.now += 1.2 * EVERY
    await scene.writes()
    scene.beside = Beside(figures=Figures(version=1, seconds=60))
    scene.now += 1.2 * EVERY
    (patch,) = await scene.writes()
    assert patch["figures"]["requests"] == 0
    assert scene.assigned.status.figures.latency == []
    for seconds in (55, 57, 60):
        scene.beside = Beside(figures=Figures(version=1, seconds=seconds))
        scene.now += 1.2 * EVERY
        assert await scene.writes() == []


@pytest.mark.parametrize("why", ["young", "shadow"])
async def test_figures_of_a_new_version_or_beside_a_shadow_are_reported_often(why):
    since = datetime.now(UTC) - timedelta(minutes=5) if why == "young" else None
    scene = Scene(since=since)
    if why == "shadow":
        scene.spec(shadow={"version": VERSION, "share": 0.1})
    await scene.writes()
    for requests in range(1, 4):
        scene.now += 1.2 * OFTEN_SECONDS
        scene.beside = Beside(figures=figures(requests))
        (patch,) = await scene.writes()
        assert patch["figures"]["requests"] == requests


async def test_the_operator_may_ask_for_fewer_reports():
    scene = Scene(since=datetime.now(UTC) - timedelta(minutes=5))
    scene.spec(reportSeconds=int(2 * OFTEN_SECONDS))
    await scene.writes()
    scene.beside = Beside(figures=figures(1))
    scene.now += 1.2 * OFTEN_SECONDS
    assert await scene.writes() == []
    scene.now += 1.2 * OFTEN_SECONDS
    assert len(await scene.writes()) == 1


async def test_version_that_comes_up_brings_the_next_report_nearer():
    scene = Scene()
    scene.now += 1.2 * EVERY
    await scene.writes()
    young = scene.report.loaded.model_copy(
        update={"since": timestamp(datetime.now(UTC)), "version": 2}
    )
    scene.report = replace(scene.report, loaded=young)
    assert len(await scene.writes()) == 1
    scene.now += 1.2 * OFTEN_SECONDS
    scene.beside = Beside(figures=figures(3))
    assert len(await scene.writes()) == 1


def fetches(scene: Scene, **changes: Any) -> Report:
    """The report of a server that fetches m-2 while m-1 answers."""
    return replace(
        scene.report,
        **{"phase": Phase.FETCHING, "reason": Reason.FETCHING, "message": "fetching m-2"} | changes,
    )


async def test_new_version_that_comes_up_soon_is_reported_once():
    scene = Scene()
    await scene.writes()
    serving = scene.report
    scene.beside = Beside(figures=figures(5))
    for changes in ({}, {"phase": Phase.LOADING, "reason": Reason.LOADING}):
        scene.report = fetches(scene, **changes)
        scene.now += 0.4 * PROGRESS_SECONDS
        assert await scene.writes() == []
    loaded = serving.loaded.model_copy(update={"version": 2})
    scene.report = replace(serving, loaded=loaded, generation=2)
    (patch,) = await scene.writes()
    assert (patch["loaded"]["version"], patch["observedGeneration"]) == (2, 2)


async def test_fetching_that_takes_long_is_reported():
    scene = Scene()
    await scene.writes()
    scene.report = fetches(scene)
    assert await scene.writes() == []
    scene.now += 1.01 * PROGRESS_SECONDS
    (patch,) = await scene.writes()
    assert patch["phase"] == "Fetching"
    scene.report = fetches(scene, phase=Phase.LOADING, reason=Reason.LOADING)
    (patch,) = await scene.writes()
    assert patch["phase"] == "Loading"


@pytest.mark.parametrize(
    "changes",
    [
        {"loaded": None},
        {"reason": Reason.STORE_UNAVAILABLE},
        {"reason": Reason.TRITON_UNAVAILABLE},
        {"failures": 1},
    ],
    ids=["nothing answers", "store away", "Triton away", "tried before"],
)
async def test_trouble_and_a_first_start_are_reported_at_once(changes):
    scene = Scene()
    await scene.writes()
    scene.report = fetches(scene, **changes)
    (patch,) = await scene.writes()
    assert patch["phase"] == "Fetching"


async def test_fetching_goes_along_with_a_heartbeat():
    scene = Scene(edge=True)
    await scene.writes()
    scene.now += 0.95 * EVERY
    scene.report = fetches(scene)
    (patch,) = await scene.writes()
    assert patch["phase"] == "Fetching"


async def test_every_report_puts_off_the_next_one_by_a_period():
    scene = Scene()
    scene.now += 1.2 * EVERY
    await scene.writes()
    scene.now += 0.8 * EVERY
    scene.beside = Beside(figures=figures(5))
    scene.report = replace(scene.report, message="m-1 answers, slowly")
    assert len(await scene.writes()) == 1
    scene.now += 0.8 * EVERY
    scene.beside = Beside(figures=figures(9))
    assert await scene.writes() == []


async def test_object_that_was_replaced_meanwhile_is_left_alone():
    scene = Scene()
    scene.server.state = {
        **scene.server.state,
        "metadata": {**scene.server.state["metadata"], "uid": "v"},
    }
    assert await scene.writes() == []


async def test_shadow_that_fails_is_said_at_once_its_figures_wait():
    scene = Scene()
    scene.spec(shadow={"version": VERSION, "share": 0.1})
    shadow = ShadowFigures(model_version="m-1", version=1, digest=DIGEST, latency=[0] * 24)
    scene.beside = Beside(shadow=shadow)
    scene.now += 1.2 * EVERY
    await scene.writes()
    scene.beside = Beside(shadow=shadow.model_copy(update={"images": 3, "latency": [3]}))
    assert await scene.writes() == []
    failed = ShadowFigures(model_version="m-1", version=1, digest=DIGEST, failure="no memory")
    scene.beside = Beside(shadow=failed)
    assert len(await scene.writes()) == 1
    assert scene.assigned.status.shadow == failed
    scene.beside = NOTHING
    await scene.writes()
    assert scene.assigned.status.shadow is None
