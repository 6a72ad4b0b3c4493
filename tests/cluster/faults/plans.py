"""All plans: a number stands for a workload, a fault, where it strikes, and a seed.

The numbers follow from the recorded calls (`recorded.json`) alone, so they mean the same on every
machine. New workloads come last and leave the numbers before them as they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .families import KILLS, SAMPLED

RECORDED = Path(__file__).with_name("recorded.json")
SEEDS = 1
"""Positions of each sampled family in each workload."""
THOROUGH = "ready"
"""The workload whose kill positions are all in the subset."""


@dataclass(frozen=True)
class Plan:
    """One run with one fault."""

    number: int
    workload: str
    family: str
    at: int
    """Position of the write, from 1."""
    call: str
    """What that write is in the reference run."""

    def __str__(self) -> str:
        return f"{self.number}-{self.workload}-{self.family}-{self.at}"

    @property
    def kills(self) -> bool:
        """Whether it is one of those that go through all positions."""
        return self.family in KILLS


def recorded() -> Mapping[str, list[str]]:
    """The writes of each workload's reference run, in order."""
    if not RECORDED.exists():
        return {}
    found: dict[str, list[str]] = json.loads(RECORDED.read_text())
    return found


def record(workload: str, calls: list[str]) -> None:
    """Make these the recorded calls of a workload."""
    RECORDED.write_text(json.dumps({**recorded(), workload: calls}, indent=1) + "\n")


def every() -> list[Plan]:
    """All plans, in order."""
    return [
        Plan(number, workload, family, at, calls[at - 1])
        for number, (workload, family, at, calls) in enumerate(_enumerated(), start=1)
    ]


def subset() -> list[Plan]:
    """A few of each: all kills of one workload, some of the others, each other family once."""
    plans = every()
    chosen = {p for p in plans if p.kills and p.workload == THOROUGH}
    names = list(recorded())
    for turn, name in enumerate(names):
        kills = [p for p in plans if p.kills and p.workload == name]
        chosen.update(random.Random(turn).sample(kills, min(2, len(kills))))
    for turn, family in enumerate(SAMPLED if names else ()):
        name = names[turn % len(names)]
        chosen.add(next(p for p in plans if p.workload == name and p.family == family))
    return sorted(chosen, key=lambda plan: plan.number)


def _enumerated() -> Iterator[tuple[str, str, int, list[str]]]:
    for workload, calls in recorded().items():
        for at in range(1, len(calls) + 1):
            for family in KILLS:
                yield workload, family, at, calls
        for family in SAMPLED:
            rng = random.Random(f"{workload} {family}")
            for at in sorted(rng.sample(range(1, len(calls)), min(SEEDS, len(calls) - 1))):
                yield workload, family, at, calls
