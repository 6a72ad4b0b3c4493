"""Tables and goals of the benchmark `create`, from its samples. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .report import Goal, Table, at_least, at_most
from .stats import Spread, ratios, spread

if TYPE_CHECKING:
    from .sampling import Sample

OURS = "modelyard"
LABELS = {
    "raw": "raw creates of Jobs",
    "kcm": "kube-controller-manager, Job → Pod",
    "trainer": "Kubeflow Trainer v2, TrainJob → JobSet → Job",
    "modelyard": "Modelyard, TrainingJob → Job",
}
AGAINST = (
    ("raw", "raw creates", 0.4),
    ("kcm", "kube-controller-manager", 1.6),
    ("trainer", "Kubeflow Trainer", 1.0),
)
PARTS = ("controllers", "API server", "etcd", "load")
"""Processes of a sample, as its CPU is counted by them."""
NOT_OF_THE_TRAINING = frozenset({"PATCH datasets/status"})
"""`usedBy` of a Dataset that many TrainingJobs share: a few writes a Dataset."""
NOT_OF_THE_LIFE = NOT_OF_THE_TRAINING | {"PATCH modelversions/status", "POST jobs"}
"""After the creation, these begin the life of the ModelVersion that came out: its export Job."""


def tables(samples: Sequence[Sample]) -> list[Table]:
    """Per size: rates, then costs, then writes."""
    made = []
    for size in sizes(samples):
        of_size = [sample for sample in samples if sample.objects == size]
        made += [_rates(size, of_size), _cpu_to_child(size, of_size)]
        made += [_costs(size, of_size), _writes(size, of_size)]
    return made


def goals(samples: Sequence[Sample]) -> list[Goal]:
    """The goals of the issue."""
    made = []
    for size in sizes(samples):
        for arm, name, bound in AGAINST:
            ratio = against(samples, size, arm)
            title = f"create → Job, {size:,} objects, share of the rate of {name}"
            made.append(at_least(title, bound, None if ratio is None else round(ratio.median, 3)))
    mine = [sample for sample in samples if sample.arm == OURS]
    created = [_total(s.created, NOT_OF_THE_TRAINING) for s in mine]
    lives = [
        _total(s.created, NOT_OF_THE_TRAINING) + _total(s.lived, NOT_OF_THE_LIFE)
        for s in mine
        if s.lived
    ]
    worst = "writes of a TrainingJob (worst sample's mean)"
    made.append(at_most(f"{worst} until its Job runs", 2, _worst(created)))
    made.append(at_most(f"{worst} in its whole life", 5, _worst(lives)))
    return made


def sizes(samples: Iterable[Sample]) -> list[int]:
    """The numbers of objects, in order."""
    return sorted({sample.objects for sample in samples})


def against(samples: Iterable[Sample], size: int, arm: str) -> Spread | None:
    """Our rate / an arm's rate, round by round; None where one of both was not measured."""
    rates: dict[str, dict[int, float]] = {OURS: {}, arm: {}}
    for sample in samples:
        if sample.objects == size and sample.arm in rates:
            rates[sample.arm][sample.round] = sample.rate
    return ratios(rates[OURS], rates[arm])


def _rates(size: int, samples: Sequence[Sample]) -> Table:
    rows = []
    for arm, mine in _by_arm(samples):
        ratio = against(samples, size, arm)
        rows.append(
            [
                LABELS[arm],
                spread([s.rate for s in mine]).text(0),
                "" if ratio is None or arm == OURS else ratio.text(2),
                _milliseconds(s.child_p50 for s in mine),
                _milliseconds(s.child_p99 for s in mine),
                _milliseconds(s.final_p50 for s in mine),
                _milliseconds(s.final_p99 for s in mine),
            ]
        )
    rounds = max(sample.round for sample in samples)
    return Table(
        f"{size:,} objects: rates and latencies",
        [
            "arm",
            "objects/s",
            "Modelyard / arm",
            "to child p50, ms",
            "p99",
            "to final p50, ms",
            "p99",
        ],
        rows,
        f"Median (lowest to highest) of {rounds} rounds; ratios are taken within a round.",
    )


def _cpu_to_child(size: int, samples: Sequence[Sample]) -> Table:
    rows = []
    totals = {(s.arm, s.round): sum(s.cpu_to_child.values()) for s in samples if s.cpu_to_child}
    ours = {number: total for (arm, number), total in totals.items() if arm == OURS}
    for arm, mine in _by_arm(samples):
        theirs = {number: total for (name, number), total in totals.items() if name == arm}
        share = None if arm == OURS else ratios(theirs, ours)
        by_part = [_number((s.cpu_to_child.get(part) for s in mine), digits=1) for part in PARTS]
        writes = _number(
            (_total(s.written_to_child, frozenset()) for s in mine if s.written_to_child), digits=2
        )
        total = _number(theirs.values(), digits=1)
        rows.append([LABELS[arm], total, *by_part, "" if share is None else share.text(2), writes])
    columns = ["arm", "all", *PARTS, "arm / Modelyard", "writes of controllers by then"]
    return Table(
        f"{size:,} objects: CPU of all processes until the last child, ms/object",
        columns,
        rows,
        "Where all cores are busy with the sample, rates are in the ratio arm / Modelyard.",
    )


def _costs(size: int, samples: Sequence[Sample]) -> Table:
    rows = [
        [
            LABELS[arm],
            _number((s.created_cpu_ms for s in mine), 1),
            _number((s.life_cpu_ms for s in mine), 1),
            _number((s.rss_mb for s in mine), 0),
        ]
        for arm, mine in _by_arm(samples)
        if arm != "raw"
    ]
    columns = ["arm", "CPU to child, ms/object", "CPU of a life, ms/object", "RSS at the end, MB"]
    return Table(f"{size:,} objects: what the controllers cost", columns, rows)


def _writes(size: int, samples: Sequence[Sample]) -> Table:
    rows = []
    for arm, mine in _by_arm(samples):
        if arm == "raw":
            continue
        lived = next((s.lived for s in mine if s.lived), {})
        for label, writes in (("until the child runs", mine[0].created), ("from then on", lived)):
            if not writes:
                continue
            named = ", ".join(f"{n:.2f} {name}" for name, n in writes.items() if n >= 0.005)
            rows.append([LABELS[arm], label, f"{sum(writes.values()):.2f}", named])
    return Table(
        f"{size:,} objects: writes per object, by apiserver_request_total",
        ["arm", "when", "writes", "which"],
        rows,
        "The harness's own writes and Leases are taken off. What begins the life of the "
        "ModelVersion that a training became (its status and export Job) counts here, "
        "but not in the goal.",
    )


def _by_arm(samples: Sequence[Sample]) -> Iterable[tuple[str, list[Sample]]]:
    for arm in LABELS:
        mine = [sample for sample in samples if sample.arm == arm]
        if mine:
            yield arm, mine


def _milliseconds(values: Iterable[float | None]) -> str:
    return _figure(values, lambda found: spread([value * 1000 for value in found]).text(0))


def _number(values: Iterable[float | None], digits: int) -> str:
    return _figure(values, lambda found: spread(found).text(digits))


def _figure(values: Iterable[float | None], text: Callable[[list[float]], str]) -> str:
    found = [value for value in values if value is not None]
    return text(found) if found else ""


def _total(writes: dict[str, float], without: frozenset[str]) -> float:
    return sum(n for name, n in writes.items() if name not in without)


def _worst(values: Sequence[float]) -> float | None:
    return round(max(values), 2) if values else None
