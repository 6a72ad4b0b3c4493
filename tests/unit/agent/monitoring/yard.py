"""A server whose Triton, clock and ModelServer tests play; statistics, disk and images are real."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from prometheus_client import CollectorRegistry

from modelyard.api.monitoring import Baseline, Block, ServerDrift
from modelyard.drift.profile import Profile
from modelyard.serving.draws import Answer, Draw, Taken
from modelyard.serving.names import Generation
from modelyard.serving.switch import Serving
from modelyard.workloads.agent.monitoring.bridging import Beside, Bridge
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.gauges import Gauges
from modelyard.workloads.agent.monitoring.keeping import Keeper
from modelyard.workloads.agent.monitoring.loop import Monitor, Outlets
from modelyard.workloads.agent.monitoring.wish import pipeline_key
from modelyard.workloads.agent.watch import Assigned

QUICK = ServerDrift(
    sample="1s",
    block=Block(duration="1s", images=2),
    baseline=Baseline(days=0, blocks=20),
    expected_run_length="1h",
    hold="60s",
    signals=["TopScore"],
    explain=["Brightness"],
)
"""Settings with which a baseline is complete after some hundred images."""


def picture(seed: int, bright: int = 120) -> bytes:
    image = np.random.default_rng(seed).integers(bright - 60, bright + 60, (24, 32, 3), np.uint8)
    return cv2.imencode(".png", cv2.resize(image, (64, 48)))[1].tobytes()


PICTURES = [picture(seed) for seed in range(8)]


def generation(number: int) -> Generation:
    return Generation("m", number, "0" * 8)


def digest(number: int) -> str:
    return f"sha256:{number:064d}"


@dataclass
class Clock:
    at: float = 1_800_000_000.0
    right: bool = True

    def now(self) -> float:
        return self.at

    def synchronised(self) -> bool:
        return self.right


@dataclass
class PlayedDraws:
    controls: list[dict[str, Any]] = field(default_factory=list)
    next: list[Taken] = field(default_factory=list)
    offs: int = 0
    error: Exception | None = None
    answers: dict[int, Answer] = field(default_factory=dict)

    def control(self, wanted: Generation, interval: float, **rest: Any) -> None:
        if self.error:
            raise self.error
        self.controls.append({"generation": wanted.name, "interval": interval, **rest})

    def off(self) -> None:
        self.offs += 1

    def take(self) -> Taken:
        return self.next.pop(0) if self.next else Taken()

    def answer(self, token: int) -> Answer | None:
        return self.answers.pop(token, None)


class Yard:
    """See the module. `monitor` is the present agent's; `restart` makes another one."""

    def __init__(self, folder: Path, *, persistent: bool = True) -> None:
        self.folder, self.persistent = folder, persistent
        self.clock, self.draws, self.assigned = Clock(), PlayedDraws(), Assigned()
        self.serves: int | None = 1
        self.embeds = True
        self.error: Exception | None = None
        self.changes = 0
        self.offered: list[tuple[Draw, bool]] = []
        self.beside: Beside | None = None
        self.profile: Profile | None = None
        self.random = random.Random(5)
        self.restart()

    def restart(self) -> None:
        self.registry = CollectorRegistry()
        self.monitor = Monitor(
            draws=self.draws,
            switcher=self,
            assigned=self.assigned,
            keeper=Keeper(self.folder, "ns", "cameras"),
            clock=self.clock,
            outlets=Outlets(self._change, Gauges(self.registry), self._offer),
            bridge=Bridge(self, self.draws),
            beside=lambda: self.beside,
            profile=lambda _: self.profile,
            persistent=self.persistent,
        )

    async def restarted(self) -> None:
        """The agent ended in good order, and another one runs."""
        await self.monitor.save()
        self.restart()

    def _change(self) -> None:
        self.changes += 1

    async def _offer(self, draw: Draw, _observed: object, drifting: bool) -> None:
        self.offered.append((draw, drifting))

    async def serving(self) -> Serving | None:
        if self.error:
            raise self.error
        if self.serves is None:
            return None
        manifest = SimpleNamespace(
            file=SimpleNamespace(digest=digest(self.serves)),
            classes=("a", "b"),
            embedding=object() if self.embeds else None,
        )
        pipeline = SimpleNamespace(confidence=0.25, iou=0.7, max_detections=300)
        record = SimpleNamespace(manifest=manifest, settings=SimpleNamespace(pipeline=pipeline))
        return Serving(generation(self.serves), record)

    async def infer_image(self, name: str, image: bytes, **options: Any) -> None:
        """The shadowed version's Triton: scores are higher by 3."""
        token = int(options["parameters"]["modelyard_draw"], 16)
        score = self.scored[-1] + 3
        self.draws.answers[token] = self.answer(score, 2)

    def shadows(self, number: int) -> None:
        pipeline = SimpleNamespace(confidence=0.25, iou=0.7, max_detections=300)
        release = Release(digest(number), pipeline_key(pipeline), 2, embeds=True)
        self.beside = Beside(generation(number), release)

    def wish(self, drift: ServerDrift | None = QUICK, **more: Any) -> None:
        """The ModelServer as the watch shows it."""
        spec: dict[str, Any] = {"podName": "p", "assigned": None}
        if drift is not None or more:
            wished = {"drift": drift.model_dump(by_alias=True, mode="json")} if drift else {}
            spec["monitoring"] = {**wished, **more}
        self.version = getattr(self, "version", 0) + 1
        metadata = {"name": "p", "uid": "u", "resourceVersion": str(self.version)}
        self.assigned.see({"metadata": metadata, "spec": spec})

    scored: list[float] = []  # noqa: RUF012

    def answer(self, score: float, number: int) -> Answer:
        empty = np.zeros((0, 4), np.float32)
        return Answer(
            number, 5.0, empty, empty[:, 0], np.zeros(0, np.int32), score,
            np.array([0.5, 1.5], np.float32),
        )  # fmt: skip

    def draw(
        self, score: float, source: str = "hall", *, number: int | None = None, image: int = 0
    ) -> Draw:
        number = number or self.serves or 1
        return Draw(
            PICTURES[image % len(PICTURES)], source, self.clock.at, 7, generation(number).name,
            (48, 64), self.answer(score, number),
        )  # fmt: skip

    async def pass_by(self, images: int, mean: float = 0.0, source: str = "hall") -> None:
        """So many images, one a second."""
        for number in range(images):
            self.clock.at += 1
            score = self.random.gauss(mean, 1)
            self.scored = [*self.scored[-1:], score]
            self.draws.next.append(Taken([self.draw(score, source, image=number)]))
            await self.monitor.step()

    async def calibrate(self) -> None:
        for _ in range(40):
            await self.pass_by(50)
            if self.monitor.report and self.monitor.report.calibrated:
                return
        raise AssertionError(f"no baseline: {self.monitor.report}")
