"""Puts a run's figures into docs/benchmarks.md, between the markers of its name.

Reports lie in `.bench/` of a checkout for as long as nobody removes them, while the page is
committed and may come from another checkout: only a run that is at least as new as the one that the
page shows takes its place.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from . import machine
from .report import FOLDER, ROOT, Report, Table, goals_table

PAGE = ROOT / "docs" / "benchmarks.md"
WHEN = re.compile(r", (\d{4}-\d\d-\d\d \d\d:\d\d UTC), ")


class NoMarkers(Exception):
    """The page has no place for a benchmark."""


def fill(page: str, report: Report) -> str:
    """The page with what stood between the markers replaced. Raises NoMarkers."""
    begin, end = _markers(report)
    shown = _shown(page, report)
    return page.replace(f"{begin}{shown}{end}", f"{begin}\n{section(report)}\n{end}")


def _markers(report: Report) -> tuple[str, str]:
    return f"<!-- {report.name}: begin -->", f"<!-- {report.name}: end -->"


def _shown(page: str, report: Report) -> str:
    """What stands between the markers. Raises NoMarkers."""
    begin, end = _markers(report)
    found = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", page, re.DOTALL)
    if found is None:
        raise NoMarkers(f"put the lines '{begin}' and '{end}' where the figures belong")
    return found.group(1)


def when(report: Report) -> str:
    """When a run began, such as `2026-11-26 21:05 UTC`; empty if its report does not say. Later
    ones come later in text order too."""
    return f"{datetime.fromisoformat(report.at):%Y-%m-%d %H:%M} UTC" if report.at else ""


def when_shown(block: str) -> str:
    """The same of the run that a part of the page shows."""
    found = WHEN.search(block)
    return found.group(1) if found else ""


def section(report: Report) -> str:
    """Command, machine, tables and goals in Markdown."""
    minutes = report.seconds / 60
    began = f"{when(report)}, " if report.at else ""
    parts = [
        f"`{report.command}`, {began}{minutes:.0f} min, on {machine.text(report.machine)}.",
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


def _take_picture(picture: Path, pages: Path) -> None:
    """Puts a report's picture, where it has one, beside the page."""
    if picture.is_file():
        shutil.copy(picture, pages)


def update(path: Path = PAGE, folder: Path = FOLDER) -> list[str]:
    """Renders the reports of full runs into the page, each unless it says no time or the page shows
    a later run, with its picture; returns a line for each that tells which. Raises NoMarkers."""
    page, told = path.read_text(), []
    for file in sorted(folder.glob("*.json")):
        if '"tables"' not in file.read_text():
            continue  # Fault plans leave their records here too.
        report = Report.read(file)
        if report.parameters.get("smoke"):
            continue
        mine, shown = when(report), when_shown(_shown(page, report))
        if not mine:
            told.append(f"{report.name}: left as it is, {file.name} does not say when it was run")
        elif mine < shown:
            told.append(f"{report.name}: left at {shown}, {file.name} is of {mine}")
        else:
            page = fill(page, report)
            _take_picture(folder / f"{report.name}.svg", path.parent)
            instead = shown or "a run of an unknown time"
            told.append(
                f"{report.name}: {mine}" + ("" if mine == shown else f", instead of {instead}")
            )
    path.write_text(page)
    return told
