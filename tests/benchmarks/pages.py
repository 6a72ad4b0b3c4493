"""Puts a run's figures into docs/benchmarks.md, between the markers of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from . import machine
from .report import ROOT, Report, Table, goals_table

PAGE = ROOT / "docs" / "benchmarks.md"


class NoMarkers(Exception):
    """The page has no place for a benchmark."""


def fill(page: str, report: Report) -> str:
    """The page with what stood between the markers replaced. Raises NoMarkers."""
    begin, end = f"<!-- {report.name}: begin -->", f"<!-- {report.name}: end -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise NoMarkers(f"put the lines '{begin}' and '{end}' where the figures belong")
    return found.sub(lambda _: f"{begin}\n{section(report)}\n{end}", page)


def section(report: Report) -> str:
    """Command, machine, tables and goals in Markdown."""
    minutes = report.seconds / 60
    parts = [
        f"`{report.command}`, {minutes:.0f} min, on {machine.text(report.machine)}.",
        *(_table(table) for table in report.tables),
        _table(goals_table(report.goals)),
    ]
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    lines = [f"**{table.title}**", "", _row(table.columns)]
    lines.append(_row(["---", *(["---:"] * (len(table.columns) - 1))]))
    lines += [_row(row) for row in table.rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def update(path: Path = PAGE, folder: Path = ROOT / ".bench") -> list[str]:
    """Renders every report of a full run into the page; returns their names. Raises NoMarkers."""
    page, names = path.read_text(), []
    for file in sorted(folder.glob("*.json")):
        if '"tables"' not in file.read_text():
            continue  # Fault plans leave their records here too.
        report = Report.read(file)
        if report.parameters.get("smoke"):
            continue
        page = fill(page, report)
        names.append(report.name)
    path.write_text(page)
    return names
