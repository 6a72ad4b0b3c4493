"""What every benchmark hands in: samples, tables, goals; as a JSON file and on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"
Say = Callable[[str], None]
"""Tells what goes on."""


@dataclass(frozen=True)
class Goal:
    """A bound and what was measured against it."""

    name: str
    goal: str
    """The bound for people, such as `at least 0.75`."""
    measured: float | None
    """None if it was not measured."""
    met: bool


def at_least(name: str, bound: float, measured: float | None, unit: str = "") -> Goal:
    """A goal that is met from `bound` up; one that was not measured is not met."""
    return Goal(name, _bound("at least", bound, unit), measured, _met(measured, low=bound))


def at_most(name: str, bound: float, measured: float | None, unit: str = "") -> Goal:
    """A goal that is met up to `bound`."""
    return Goal(name, _bound("at most", bound, unit), measured, _met(measured, high=bound))


def below(name: str, bound: float, measured: float | None, unit: str = "") -> Goal:
    """A goal that is met under `bound`."""
    met = measured is not None and measured < bound
    return Goal(name, _bound("below", bound, unit), measured, met)


def _bound(words: str, bound: float, unit: str) -> str:
    return f"{words} {bound:g} {unit}".rstrip()


def _met(measured: float | None, *, low: float = float("-inf"), high: float = float("inf")) -> bool:
    return measured is not None and bool(low <= measured <= high)


@dataclass(frozen=True)
class Table:
    """Figures as people read them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass
class Report:
    """One benchmark's run."""

    name: str
    """File name in `.bench/` and name of the markers in docs/benchmarks.md."""
    title: str
    command: str
    """What repeats the run."""
    machine: dict[str, Any]
    parameters: dict[str, Any]
    arms: Sequence[str] = ()
    samples: list[dict[str, Any]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    seconds: float = 0.0
    """How long it took."""
    at: str = ""
    """When it began, as 2026-11-26T21:05:00Z. Reports of before this was kept have none."""

    def write(self, folder: Path = FOLDER) -> Path:
        """Writes `folder/NAME.json`; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Report:
        """A report that `write` has written."""
        found = json.loads(path.read_text())
        found["tables"] = [Table(**each) for each in found["tables"]]
        found["goals"] = [Goal(**each) for each in found["goals"]]
        return cls(**found)

    def show(self, console: Console) -> None:
        """Prints tables and goals."""
        for table in [*self.tables, goals_table(self.goals)]:
            shown = RichTable(title=table.title, caption=table.note or None, title_justify="left")
            for number, column in enumerate(table.columns):
                shown.add_column(column, justify="right" if number else "left", overflow="fold")
            for row in table.rows:
                shown.add_row(*row)
            console.print(shown)


Result = tuple[list[dict[str, Any]], list[Table], list[Goal]]
"""Samples, tables and goals of a report."""


def goals_table(goals: Sequence[Goal]) -> Table:
    """All goals, met or not."""
    rows = [
        [
            goal.name,
            goal.goal,
            "not measured" if goal.measured is None else f"{goal.measured:,.3g}",
            "met" if goal.met else "NOT MET",
        ]
        for goal in goals
    ]
    return Table("Goals", ["goal", "bound", "measured", ""], rows)
