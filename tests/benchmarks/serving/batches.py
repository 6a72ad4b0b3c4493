"""Part `batches` of the benchmark of serving: images a second, one by one and several at once.

The network takes any batch (`exports[].batch: dynamic`). In turns: requests with N images, N
clients with one image each, the bare network with N tensors in a request, and Ultralytics' batched
predict without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..report import ROOT, Goal, Say, Table, at_least
from ..site import free_port
from ..stats import ratios, spread
from . import layout
from .load import Driver, Failed, Load
from .site import LINE, Site, manifest

COUNTS = (1, 4, 16)
REQUEST, CLIENTS, TENSORS = "request", "clients", "tensors"
PREDICT = ("predict-onnx", "predict-pt")
LABELS = {
    REQUEST: f"Modelyard, {LINE}, N images in a request",
    CLIENTS: f"Modelyard, {LINE}, N clients with one image each",
    TENSORS: f"Modelyard, {LINE}-network, N tensors in a request",
    "predict-onnx": 'Ultralytics, YOLO("model.onnx").predict of N images, no server',
    "predict-pt": 'Ultralytics, YOLO("model.pt").predict of N images, no server',
}


@dataclass(frozen=True)
class Sample:
    """One arm with N images in one round."""

    arm: str
    round: int
    images: int
    rate: float
    """Images a second."""


def measure(
    site: Site, rounds: int, seconds: float, size: int, image: str, say: Say
) -> tuple[list[Sample], dict[str, str]]:
    """Every arm in every round; and what was left out, with reasons."""
    left_out: dict[str, str] = {}
    samples: list[Sample] = []
    with _arms(site, size, image, seconds) as arms:
        for number in range(1, rounds + 1):
            for count in COUNTS:
                turn = (number + count) % len(arms)
                for arm in (*list(arms)[turn:], *list(arms)[:turn]):
                    if arm in left_out:
                        continue
                    driver, load_of = arms[arm]
                    load = load_of(count)
                    try:
                        rows = driver.run(load)
                    except Failed as error:
                        left_out[arm] = f"with {count} images: {error}"
                        say(f"{arm} is left out {left_out[arm]}")
                        continue
                    samples.append(Sample(arm, number, count, rate(rows, load.images)))
                shown = [one for one in samples if (one.round, one.images) == (number, count)]
                line = ", ".join(f"{one.arm} {one.rate:.1f}" for one in shown)
                say(f"round {number}, {count} images, images/s: {line}")
    return samples, left_out


Arm = tuple[Driver, Callable[[int], Load]]


@contextmanager
def _arms(site: Site, size: int, image: str, seconds: float) -> Iterator[dict[str, Arm]]:
    """Who sends, and what with so many images."""
    tensor = site.folder / f"batch-tensor-{size}.npy"
    np.save(tensor, np.random.default_rng(0).random((1, 3, size, size), np.float32))
    network = site.network(size, batch=True)
    with ExitStack() as stack:
        driver = Driver()
        stack.callback(driver.stop)
        up = stack.enter_context(
            layout.serving(
                ROOT, site.folder / "batches", network, free_port(), max_batch=max(COUNTS)
            )
        )
        pictures = Load(
            kind="grpc", target=up.grpc, model=LINE, payload=str(site.jpegs(image)),
            out=str(site.kept / "rows.npy"), seconds=seconds,
        )  # fmt: skip
        tensors = replace(
            pictures, model=f"{LINE}-network", payload=str(tensor),
            input=manifest(network).input.name,
        )  # fmt: skip
        arms: dict[str, Arm] = {
            REQUEST: (driver, lambda count: replace(pictures, images=count)),
            CLIENTS: (driver, lambda count: replace(pictures, clients=count)),
            TENSORS: (driver, lambda count: replace(tensors, images=count)),
        }
        for arm in PREDICT:
            model = "model.pt" if arm.endswith("pt") else network.name
            predictor = site.trainer.driver(
                site.folder / f"{arm}.log", "/bench/predictor.py", f"/bench/{model}", str(size),
                packages="",
            )  # fmt: skip
            stack.callback(predictor.stop)
            arms[arm] = (predictor, arms[REQUEST][1])
        yield arms


def rate(rows: Any, images: int) -> float:
    """Answered images a second, from the first request to the last answer."""
    due, spent, answered = rows.T
    whole = float((due + spent).max() - due.min())
    return round(images * float(answered.sum()) / whole, 2)


def report(
    samples: Sequence[Sample], left_out: Mapping[str, str]
) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the batches."""
    rows = []
    for arm, label in LABELS.items():
        mine = [one for one in samples if one.arm == arm]
        if not mine:
            continue
        row = [label]
        for count in COUNTS:
            found = [one.rate for one in mine if one.images == count]
            row.append(spread(found).text(1) if found else "")
        rows.append(row)
    rounds = max((one.round for one in samples), default=0)
    note = f"Median (lowest to highest) of {rounds} rounds."
    for name, why in left_out.items():
        note += f" Left out: {LABELS[name]} ({why})."
    columns = ["images/s", *(f"N = {count}" for count in COUNTS)]
    worst = [found.median for count in COUNTS if (found := _against(samples, count)) is not None]
    goal = at_least(
        "N images in a request, images/s of Ultralytics' better batched predict, worst N",
        1.0,
        round(min(worst), 3) if len(worst) == len(COUNTS) else None,
    )
    return [Table("Several images at once", columns, rows, note)], [goal]


def _against(samples: Sequence[Sample], count: int) -> Any:
    """Our requests' rate in that of the faster predict, round by round."""

    def of(arm: str) -> dict[int, float]:
        mine = [one for one in samples if (one.arm, one.images) == (arm, count)]
        return {one.round: one.rate for one in mine}

    found = [ratios(of(REQUEST), of(arm)) for arm in PREDICT]
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.median) if known else None


def dump(samples: Sequence[Sample], left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    found: list[dict[str, Any]] = [{"part": "batches", **asdict(one)} for one in samples]
    return [*found, {"part": "batches", "leftOut": dict(left_out)}]
