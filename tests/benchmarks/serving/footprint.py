"""Part `footprint` of the benchmark of serving: memory, and seconds from start to first answer.

One server at a time, alone on the machine, in turns. Memory is the proportional set size (PSS) of
all processes of a server after some load, less the network's file: shared pages count once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..report import ROOT, Goal, Say, Table, at_most
from ..site import free_port
from ..stats import ratios, spread
from . import layout
from .arms import LABELS as ARM_LABELS
from .arms import body_of, checkout, peer
from .load import Driver, Load, sender
from .site import LINE, Site
from .trainer import NoTrainer

OURS, BEFORE = "modelyard", "before"
LABELS = {
    OURS: "Modelyard, Triton and its steps",
    BEFORE: "Modelyard before, Triton and its steps",
    **{name: ARM_LABELS[name] for name in ("fastapi-onnx", "fastapi-pt", "litserve")},
}
BETTER = 0.8
"""What memory and start are to be of the layout before."""


@dataclass(frozen=True)
class Sample:
    """One server in one round."""

    arm: str
    round: int
    megabytes: float
    """Of the server, beside the network's file."""
    agent: float
    """Megabytes of our agent, which is beside it; 0 for others."""
    start: float
    """Seconds until the first answer."""


@dataclass(frozen=True)
class _Up:
    """A server that has answered."""

    kind: str
    address: str
    model: str
    leader: int
    agent: int | None
    start: float


def measure(
    site: Site, rounds: int, size: int, against: str | None, say: Say
) -> tuple[list[Sample], dict[str, str]]:
    """Every server in every round; and what was left out, with reasons."""
    samples: list[Sample] = []
    left_out: dict[str, str] = {}
    driver = Driver()
    try:
        with checkout(against, site.folder) as before:
            trees = {OURS: ROOT} | ({BEFORE: before} if before else {})
            for number in range(1, rounds + 1):
                for arm in LABELS:
                    if arm in left_out or (arm == BEFORE and before is None):
                        continue
                    try:
                        with _started(site, arm, trees.get(arm), size, number) as up:
                            one = _take(site, driver, arm, number, size, up)
                    except NoTrainer as error:
                        left_out[arm] = " ".join(str(error).split())[:300]
                        continue
                    samples.append(one)
                    say(
                        f"round {number} {arm}: {one.megabytes:.0f} MB and agent "
                        f"{one.agent:.0f} MB, first answer after {one.start:.1f} s"
                    )
    finally:
        driver.stop()
    return samples, left_out


@contextmanager
def _started(site: Site, arm: str, tree: Path | None, size: int, number: int) -> Iterator[_Up]:
    if tree is None:
        with peer(site, arm, size) as (address, leader, took):
            yield _Up(body_of(arm), address, "/predict", leader, None, took)
        return
    folder = site.folder / f"footprint-{arm}-{number}"
    with layout.serving(tree, folder, site.network(size), free_port()) as up:
        first = Load("grpc", up.grpc, LINE, str(site.images), out="")
        sender(first)(0)
        took = time.monotonic() - up.started
        yield _Up("grpc", up.grpc, LINE, up.triton, up.agent, took)


def _take(site: Site, driver: Driver, arm: str, number: int, size: int, up: _Up) -> Sample:
    load = Load(
        kind=up.kind, target=up.address, model=up.model, payload=str(site.images),
        out=str(site.kept / "rows.npy"), clients=4, seconds=3.0,
    )  # fmt: skip
    driver.run(load)
    network = site.network(size).stat().st_size / 1e6
    return Sample(
        arm=arm,
        round=number,
        megabytes=round(memory(up.leader) - network, 1),
        agent=round(memory(up.agent), 1) if up.agent else 0.0,
        start=round(up.start, 2),
    )


def memory(leader: int) -> float:
    """PSS of a process and all its descendants in megabytes, without what only starts them."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                after = (folder / "stat").read_text().rpartition(") ")[2]
            except OSError:
                continue
            parents.setdefault(int(after.split()[1]), []).append(int(folder.name))
    waiting, total = [leader], 0
    while waiting:
        pid = waiting.pop()
        waiting += parents.get(pid, [])
        total += _pss(pid)
    return total * 1024 / 1e6


def _pss(pid: int) -> int:
    """Kilobytes; 0 for buildah, which is no part of a server, and for what has ended."""
    try:
        if "buildah" in Path(f"/proc/{pid}/cmdline").read_bytes()[:200].decode(errors="replace"):
            return 0
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def report(
    samples: Sequence[Sample], left_out: Mapping[str, str]
) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the footprint."""
    rows = []
    for arm, label in LABELS.items():
        mine = [one for one in samples if one.arm == arm]
        if mine:
            rows.append(
                [
                    label,
                    spread([one.megabytes for one in mine]).text(0),
                    spread([one.agent for one in mine]).text(0) if mine[0].agent else "",
                    spread([one.start for one in mine]).text(1),
                ]
            )
    rounds = max(one.round for one in samples)
    note = (
        f"Median (lowest to highest) of {rounds} rounds, after three seconds of four clients. "
        "Peers start in a container, Triton and the agent do not."
    )
    for name, why in left_out.items():
        note += f" Left out: {LABELS[name]} ({why})."
    columns = ["server", "PSS beside the network, MB", "agent, MB", "first answer after, s"]
    goals = [
        at_most(f"{title}, of that before", BETTER, _against(samples, figure))
        for title, figure in (
            ("memory of a server beside the network", lambda one: one.megabytes),
            ("seconds from start to the first answer", lambda one: one.start),
        )
    ]
    return [Table("Memory and start", columns, rows, note)], goals


def _against(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> float | None:
    def of(arm: str) -> dict[int, float]:
        return {one.round: figure(one) for one in samples if one.arm == arm}

    found = ratios(of(OURS), of(BEFORE))
    return None if found is None else round(found.median, 3)


def dump(samples: Sequence[Sample], left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    found: list[dict[str, Any]] = [{"part": "footprint", **asdict(one)} for one in samples]
    return [*found, {"part": "footprint", "leftOut": dict(left_out)}]
