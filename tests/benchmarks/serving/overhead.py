"""Part `overhead` of the benchmark of serving: the pipeline beside what could be used instead.

The same network, images, machine and clients for all arms; one arm at a time is asked, in turns,
and ratios are taken within a round. All servers are up all the time: idle, they cost next to
nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tests.serving.server import Server

from modelyard.serving import config as configs
from modelyard.serving.names import Generation
from modelyard.serving.settings import ServingSettings

from ..report import Goal, Say, Table, at_least, at_most
from ..site import free_port
from ..stats import Spread, quantile, ratios, spread
from .agent import agent, orders
from .load import Load, rows, running
from .site import LINE, SIZE, Site, started

PLAIN = "plain"
OURS = "pipeline-grpc"
RAW, BARE = "network", "plain"
PEERS = ("fastapi-onnx", "fastapi-pt")
LABELS = {
    BARE: "Triton without our agent, network as a plain model, gRPC",
    RAW: f"Modelyard, {LINE}-network (raw network), gRPC",
    OURS: f"Modelyard, {LINE} (JPEG in, boxes out), gRPC",
    "pipeline-http": f"Modelyard, {LINE} (JPEG in, boxes out), HTTP",
    "fastapi-onnx": 'FastAPI + uvicorn, YOLO("model.onnx").predict, HTTP',
    "fastapi-pt": 'FastAPI + uvicorn, YOLO("model.pt").predict, HTTP',
}
LEAST_SHARE = 0.95


@dataclass(frozen=True)
class Sample:
    """One arm in one round. Times in milliseconds."""

    arm: str
    round: int
    rate: float
    """Answered requests a second."""
    p50: float
    p99: float
    failed: int


async def measure(site: Site, rounds: int, seconds: float, clients: int, say: Say) -> list[Sample]:
    """Every arm in every round, for so many seconds each."""
    tensor = site.folder / "tensor.npy"
    np.save(tensor, np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32))
    with ExitStack() as stack:
        ours = stack.enter_context(await started(site.server("ours")))
        stack.enter_context(agent(orders(site, ours, free_port())))
        plain = stack.enter_context(await started(site.server(PLAIN)))
        await _load_plain(site, plain)
        peers = {
            name: stack.enter_context(_peer(site, name, f"model.{name.partition('-')[2]}"))
            for name in PEERS
        }
        image, field = str(site.images), site.manifest.input.name
        where: dict[str, Any] = {
            BARE: ("grpc", plain.grpc, PLAIN, str(tensor), field),
            RAW: ("grpc", ours.grpc, f"{LINE}-network", str(tensor), field),
            OURS: ("grpc", ours.grpc, LINE, image, "IMAGE"),
            "pipeline-http": ("http", ours.http, LINE, image, "IMAGE"),
            **{name: ("post", target, "/predict", image, "") for name, target in peers.items()},
        }
        loads = {
            arm: Load(
                kind=kind,
                target=target,
                model=model,
                payload=payload,
                input=field,
                out=str(site.folder / f"{arm}.npy"),
                clients=clients,
            )
            for arm, (kind, target, model, payload, field) in where.items()
        }
        samples = []
        for number in range(1, rounds + 1):
            # Each round begins with another arm.
            arms = list(loads)[number % len(loads) :] + list(loads)[: number % len(loads)]
            for arm in arms:
                one = await _take(arm, number, loads[arm], seconds)
                samples.append(one)
                figures = f"{one.rate:.1f}/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms"
                say(f"round {number} {arm}: {figures}")
        return samples


async def _take(arm: str, number: int, load: Load, seconds: float) -> Sample:
    with running(load):
        await asyncio.sleep(seconds + 2)
    due, spent, answered = rows(load).T
    # The first seconds are the client's own start and warm caches.
    late = due > due.max() - seconds
    spent, answered, due = spent[late], answered[late], due[late]
    good = spent[answered == 1] * 1000
    return Sample(
        arm=arm,
        round=number,
        rate=round(float(len(good) / (due.max() - due.min())), 2),
        p50=round(quantile(good.tolist(), 0.5), 2),
        p99=round(quantile(good.tolist(), 0.99), 2),
        failed=int((answered == 0).sum()),
    )


async def _load_plain(site: Site, server: Server) -> None:
    """The same network with the same threads, as a user of Triton would place it."""
    generation = Generation(LINE, 1, "0" * 8)
    settings = ServingSettings(cpus=site.cpus)
    config = configs.generation_configs(generation, site.manifest, settings)[generation.network]
    config.name = PLAIN
    folder = server.root / PLAIN / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(configs.to_text(config))
    (folder / "model.onnx").write_bytes(site.model.read_bytes())
    client = server.client()
    await client.load(PLAIN)
    await client.close()


@contextmanager
def _peer(site: Site, name: str, model: str) -> Iterator[str]:
    """A FastAPI server that answers; yields its address."""
    port = free_port()
    log = site.folder / f"{name}.log"
    image = next(iter(sorted(site.images.iterdir()))).read_bytes()
    with site.trainer.serving(log, "/bench/server.py", f"/bench/{model}", str(SIZE), str(port)):
        deadline = time.monotonic() + 120
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", "/predict", image)
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 200, text
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            finally:
                connection.close()
        yield f"127.0.0.1:{port}"


def report(samples: Sequence[Sample]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the overhead."""
    made = []
    for arm, label in LABELS.items():
        mine = [one for one in samples if one.arm == arm]
        ratio = compared(samples, OURS, arm, lambda one: one.rate)
        made.append(
            [
                label,
                spread([one.rate for one in mine]).text(1),
                spread([one.p50 for one in mine]).text(1),
                spread([one.p99 for one in mine]).text(1),
                str(sum(one.failed for one in mine)),
                "" if ratio is None or arm == OURS else ratio.text(2),
            ]
        )
    columns = ["arm", "requests/s", "p50, ms", "p99, ms", "failed", "pipeline (gRPC) / arm"]
    rounds = max(one.round for one in samples)
    note = f"Median (lowest to highest) of {rounds} rounds; ratios are taken within a round."
    share = compared(samples, RAW, BARE, lambda one: one.rate)
    goals = [
        at_least(
            "raw network, share of the requests/s of Triton without our agent",
            LEAST_SHARE,
            _rounded(share),
        )
    ]
    for name, best, figure in (
        ("requests/s", at_least, lambda one: one.rate),
        ("p50", at_most, lambda one: one.p50),
        ("p99", at_most, lambda one: one.p99),
    ):
        found = [compared(samples, "pipeline-http", peer, figure) for peer in PEERS]
        known = [one.median for one in found if one is not None]
        worst = None
        if known:
            worst = round(min(known) if best is at_least else max(known), 3)
        title = f"encoded images over HTTP, {name}, in those of the better FastAPI server"
        goals.append(best(title, 1.0, worst))
    return [Table("The pipeline beside others", columns, made, note)], goals


def compared(
    samples: Sequence[Sample], one: str, other: str, figure: Callable[[Sample], float]
) -> Spread | None:
    """A figure of one arm in those of another one, round by round."""
    found: dict[str, dict[int, float]] = {one: {}, other: {}}
    for sample in samples:
        if sample.arm in found:
            found[sample.arm][sample.round] = figure(sample)
    return ratios(found[one], found[other])


def _rounded(found: Spread | None) -> float | None:
    return None if found is None else round(found.median, 3)


def dump(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    return [{"part": "overhead", **asdict(one)} for one in samples]
