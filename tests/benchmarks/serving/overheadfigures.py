"""Tables and goals of part `overhead` of the benchmark of serving, from its samples. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from ..report import Goal, Table, at_least, at_most
from ..stats import Spread, ratios, spread
from .arms import BEFORE, FASTAPI, LABELS, OURS, OURS_HTTP, PLAIN, RAW

Cell = tuple[int, str, int]
"""Network's size, images' size, clients."""


@dataclass(frozen=True)
class Sample:
    """One arm in one cell of one round. Times in milliseconds."""

    arm: str
    round: int
    network: int
    image: str
    clients: int
    rate: float
    """Answered requests a second."""
    p50: float
    p99: float
    failed: int

    @property
    def cell(self) -> Cell:
        """What it is compared within."""
        return (self.network, self.image, self.clients)


Figure = Callable[[Sample], float]
RATE: Figure = attrgetter("rate")
P50: Figure = attrgetter("p50")
P99: Figure = attrgetter("p99")


def report(
    samples: Sequence[Sample], left_out: Mapping[str, str]
) -> tuple[list[Table], list[Goal]]:
    """A table for each network and size of images, one of ratios, and the goals."""
    combinations = dict.fromkeys((one.network, one.image) for one in samples)
    tables = [_figures(samples, *each) for each in combinations]
    tables.append(_ratios(samples, left_out))
    return tables, _goals(samples)


def _figures(samples: Sequence[Sample], network: int, image: str) -> Table:
    mine = [one for one in samples if (one.network, one.image) == (network, image)]
    clients = sorted({one.clients for one in mine})
    rows = []
    for arm, label in LABELS.items():
        of_arm = [one for one in mine if one.arm == arm]
        if not of_arm:
            continue
        row = [label]
        for count in clients:
            of_count = [one for one in of_arm if one.clients == count]
            if not of_count:
                row += ["", "", ""]
                continue
            row += [spread([one.rate for one in of_count]).text(1)]
            row += [_median(of_count, P50), _median(of_count, P99)]
        rows.append([*row, str(sum(one.failed for one in of_arm))])
    columns = ["arm"]
    for count in clients:
        columns += [f"{count} client{'s' * (count > 1)}: requests/s", "p50, ms", "p99"]
    return Table(
        f"Network of {network} px, JPEGs of {image}",
        [*columns, "failed"],
        rows,
        f"Median (lowest to highest) of {max(one.round for one in mine)} rounds; clients in closed "
        "loops.",
    )


def _median(samples: Sequence[Sample], figure: Figure) -> str:
    return f"{spread([figure(one) for one in samples]).median:.0f}"


RATIOS: tuple[tuple[str, str, Figure, str], ...] = (
    ("pipeline / raw network, requests/s", OURS, RATE, RAW),
    ("raw network / Triton alone, requests/s", RAW, RATE, PLAIN),
    ("HTTP / better FastAPI, requests/s", OURS_HTTP, RATE, "fastapi"),
    ("p50", OURS_HTTP, P50, "fastapi"),
    ("p99", OURS_HTTP, P99, "fastapi"),
    ("pipeline / before, requests/s", OURS, RATE, BEFORE),
    ("p50 ", OURS, P50, BEFORE),
)


def _ratios(samples: Sequence[Sample], left_out: Mapping[str, str]) -> Table:
    shown = [
        each for each in RATIOS if any(against(samples, *each[1:], cell) for cell in cells(samples))
    ]
    rows = []
    for cell in cells(samples):
        network, image, clients = cell
        row = [f"{network} px, {image}, {clients} client{'s' * (clients > 1)}"]
        for _, one, figure, other in shown:
            ratio = against(samples, one, figure, other, cell)
            row.append("" if ratio is None else ratio.text(2))
        rows.append(row)
    note = (
        "Ratios are taken within a round; the better FastAPI server is that with most requests/s."
    )
    for name, why in left_out.items():
        note += f" Left out: {LABELS[name]} ({why})."
    return Table("Ratios", ["", *(each[0].strip() for each in shown)], rows, note)


def cells(samples: Iterable[Sample]) -> list[Cell]:
    """All cells, in order."""
    return sorted({one.cell for one in samples}, key=lambda cell: (cell[0], len(cell[1]), cell))


def against(
    samples: Sequence[Sample], one: str, figure: Figure, other: str, cell: Cell
) -> Spread | None:
    """A figure of one arm in those of another one in a cell, round by round. `fastapi` is, for
    each figure, the FastAPI server that is best at it."""
    mine = [sample for sample in samples if sample.cell == cell]
    if other != "fastapi":
        return compared(mine, one, other, figure)
    found = [compared(mine, one, peer, figure) for peer in FASTAPI]
    known = [ratio for ratio in found if ratio is not None]
    if not known:
        return None
    hardest = min if figure is RATE else max
    return hardest(known, key=lambda ratio: ratio.median)


def compared(samples: Sequence[Sample], one: str, other: str, figure: Figure) -> Spread | None:
    """A figure of one arm in those of another one, round by round, within one cell."""
    found: dict[str, dict[int, float]] = {one: {}, other: {}}
    for sample in samples:
        if sample.arm in found and figure(sample) > 0:
            found[sample.arm][sample.round] = figure(sample)
    return ratios(found[one], found[other])


def _goals(samples: Sequence[Sample]) -> list[Goal]:
    every = cells(samples)
    single = [cell for cell in every if cell[2] == 1]

    def worst(one: str, figure: Figure, other: str, within: Sequence[Cell] = every) -> float | None:
        found = [against(samples, one, figure, other, cell) for cell in within]
        known = [ratio.median for ratio in found if ratio is not None]
        if not known or len(known) < len(within):
            return None
        return round(min(known) if figure is RATE else max(known), 3)

    peer = "of the better FastAPI server's, worst cell"
    return [
        at_least("pipeline, share of the raw network's requests/s, worst cell", 0.88,
                 worst(OURS, RATE, RAW)),
        at_least("raw network, share of the requests/s of Triton without our agent, worst cell",
                 0.95, worst(RAW, RATE, PLAIN)),
        at_least(f"over HTTP, requests/s {peer}", 1.25, worst(OURS_HTTP, RATE, "fastapi")),
        at_most(f"over HTTP, p50 {peer}", 0.85, worst(OURS_HTTP, P50, "fastapi")),
        at_most(f"over HTTP, p99 {peer}", 0.85, worst(OURS_HTTP, P99, "fastapi")),
        at_most(f"over HTTP, a single client's p50 {peer}", 1.0,
                worst(OURS_HTTP, P50, "fastapi", single)),
    ]  # fmt: skip


def dump(samples: Sequence[Sample], left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    found: list[dict[str, Any]] = [{"part": "overhead", **asdict(one)} for one in samples]
    return [*found, {"part": "overhead", "leftOut": dict(left_out)}]
