"""All fault plans: each is one run of a workload with one fault at one write of the operator.

A plan is named by what it hits, `workload/family/write`, for example
`edge/kill-after/status Deployment fleet Paused Step 1 #1` (`writes.py` says how writes are named).
Which plans there are follows from `recorded.json` alone, which lists each workload's writes. A new
or a lost write adds or removes its own plans and renames no other: choices are made by hashes of
names, never by positions.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .families import KILLS, SAMPLED
from .writes import is_update

RECORDED = Path(__file__).with_name("recorded.json")
SOMETIMES = " (sometimes)"
"""Follows the name of a write in the record that was missing in one of the reference runs."""
SAMPLES = 1
"""Writes at which each sampled family strikes in each workload."""
THOROUGH = "ready"
"""The workload whose kill plans are all in the subset."""
KILLS_OF_OTHERS = 2
"""Kill plans of each other workload in the subset."""


@dataclass(frozen=True)
class Write:
    """A write of a workload's reference runs."""

    name: str
    """As WriteNames gives it."""
    always: bool
    """Whether every reference run made it."""

    @property
    def certain(self) -> bool:
        """Whether every machine makes it, be it idle or busy: a fault here must be reached."""
        return self.always and not is_update(self.name)


@dataclass(frozen=True)
class Plan:
    """One run with one fault."""

    workload: str
    family: str
    write: Write

    def __str__(self) -> str:
        return f"{self.workload}/{self.family}/{self.write.name}"

    @property
    def key(self) -> str:
        """Ten hexadecimal digits of the name's hash, for names of namespaces and files."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:10]

    @property
    def random(self) -> random.Random:
        """Makes the plan's random choices, the same each time."""
        return random.Random(str(self))

    @property
    def kills(self) -> bool:
        """Whether it is of a family that has a plan for every write."""
        return self.family in KILLS


def recorded() -> Mapping[str, tuple[Write, ...]]:
    """The writes of each workload, in the order of a reference run."""
    if not RECORDED.exists():
        return {}
    found: dict[str, list[str]] = json.loads(RECORDED.read_text())
    return {
        workload: tuple(
            Write(line.removesuffix(SOMETIMES), not line.endswith(SOMETIMES)) for line in lines
        )
        for workload, lines in found.items()
    }


def record(found: Mapping[str, Iterable[Write]], workloads: Iterable[str]) -> None:
    """Make these the recorded writes of their workloads; of others than `workloads`, drop them."""
    new = {**recorded(), **found}
    lines = {
        workload: [one.name + ("" if one.always else SOMETIMES) for one in new[workload]]
        for workload in workloads
        if workload in new
    }
    RECORDED.write_text(json.dumps(lines, indent=1) + "\n")


def merged(runs: Sequence[Sequence[str]]) -> tuple[Write, ...]:
    """The writes of several runs of one workload, in the order of the first. What only a later run
    made comes after the write that it followed there."""
    names = list(runs[0])
    for run in runs[1:]:
        place = 0
        for name in run:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return tuple(Write(name, all(name in run for run in runs)) for name in names)


def every() -> list[Plan]:
    """All plans, in the order of the record."""
    return list(_enumerated())


def subset() -> list[Plan]:
    """A few of each: all kills of one workload, some of the others, each other family once. Only
    such as strike in every run."""
    certain = [plan for plan in every() if plan.write.certain]
    chosen = {plan for plan in certain if plan.kills and plan.workload == THOROUGH}
    for workload in recorded():
        kills = [plan for plan in certain if plan.kills and plan.workload == workload]
        chosen.update(sorted(kills, key=lambda plan: plan.key)[:KILLS_OF_OTHERS])
    for family in SAMPLED:
        plans = [plan for plan in certain if plan.family == family]
        chosen.update(sorted(plans, key=lambda plan: plan.key)[:1])
    return [plan for plan in certain if plan in chosen]


def matching(texts: Iterable[str]) -> list[Plan]:
    """Plans with one of these names; for a text that is no plan's name, all that contain it."""
    plans = every()
    named = {str(plan) for plan in plans}
    wanted = set(texts)
    whole, parts = wanted & named, wanted - named
    return [
        plan for plan in plans if str(plan) in whole or any(part in str(plan) for part in parts)
    ]


def _enumerated() -> Iterator[Plan]:
    for workload, writes in recorded().items():
        for write in writes:
            for family in KILLS:
                yield Plan(workload, family, write)
        # The last write is left out: most of these faults concern what comes after.
        certain = [write for write in writes if write.certain][:-1]
        for family in SAMPLED:
            plans = [Plan(workload, family, write) for write in certain]
            yield from sorted(plans, key=lambda plan: plan.key)[:SAMPLES]
