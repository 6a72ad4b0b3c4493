"""Tables of the rollout display: servers by pool with progress bars, and metrics with their bounds.

Pure: rows of styled text for `rolloutdraw.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from modelyard.cli.rolloutview import Measure, Servers, View, elapsed

Part = tuple[str, str]
Row = list[Part]
"""A line: parts of text with their styles."""

MAX_POOLS = 12
_VERDICTS = {
    "Successful": ("✔", "green"),
    "Failed": ("✘", "red"),
    "Inconclusive": ("?", "yellow"),
    "Running": ("●", "cyan"),
}


@dataclass(frozen=True)
class Layout:
    """Time, width and style of the output."""

    now: datetime
    width: int = 100
    bars: bool = True
    command: str = "modelyard rollout {} {}"
    """Command line of an action, as a template: action, name of the Deployment."""
    zone: tzinfo | None = None
    """Time zone for display; None is this machine's."""


def indented(row: Row) -> Row:
    """A row, indented by two spaces."""
    return [("  ", ""), *row]


def servers(seen: View, layout: Layout) -> Iterator[Row]:
    """The table of updated and ready servers, in total and by pool."""
    if not seen.all.servers and not seen.pools:
        return
    shown = _most_relevant(seen.pools) if len(seen.pools) > MAX_POOLS else list(seen.pools)
    rows = [seen.all, *shown]
    columns = [
        (head, style, [count(one) for one in rows])
        for head, style, count in _COLUMNS
        if head in _ALWAYS or any(count(one) for one in rows)
    ]
    titles = [_pool_title(one) for one in rows]
    wide = max(len(title) for title in titles)
    taken = 4 + wide + sum(_column_width(head, counts) for head, _, counts in columns)
    length = min(30, max(8, layout.width - taken)) if layout.bars else 0
    heads = "".join(f"{head:>{_column_width(head, counts)}}" for head, _, counts in columns)
    yield indented([(" " * (wide + 2 + length) + heads, "dim")])
    for index, (title, one) in enumerate(zip(titles, rows, strict=True)):
        row: Row = [(title.ljust(wide + 2), "bold" if one.pool is None else "")]
        if length:
            parts = [(one.updated, "green"), (one.failed, "red")]
            row += bar(length, one.servers, parts, absent=one.offline)
        for head, style, counts in columns:
            count = counts[index]
            known = count or (count == 0 and head in _ALWAYS)
            text = f"{count:,}" if known else ""
            row.append((f"{text:>{_column_width(head, counts)}}", style if count else "dim"))
        yield indented(row)
    left = [one for one in seen.pools if one not in shown]
    if left:
        servers = sum(one.servers for one in left)
        yield indented([(f"and {len(left)} more pools with {servers:,} servers", "dim")])


_ALWAYS = ("UPDATED", "OF", "READY")
_COLUMNS: tuple[tuple[str, str, Callable[[Servers], int | None]], ...] = (
    ("UPDATED", "", lambda one: one.updated),
    ("OF", "", lambda one: one.servers),
    ("READY", "", lambda one: one.ready),
    ("OFFLINE", "", lambda one: one.offline),
    ("FAILED", "red", lambda one: one.failed),
    ("STAGED", "", lambda one: one.staged),
    ("UNFIT", "yellow", lambda one: one.unfit),
)
"""Heading, style, count. Columns outside _ALWAYS are left out if all counts are zero."""


def _column_width(head: str, counts: Sequence[int | None]) -> int:
    return 2 + max(len(head), *(len(f"{count or 0:,}") for count in counts))


def _pool_title(one: Servers) -> str:
    if one.pool is None:
        return "servers"
    return one.pool or "(no pool)"


def _most_relevant(pools: Sequence[Servers]) -> list[Servers]:
    """The pools to show if there are many: failed ones first, then unfinished ones, in the order of
    the status."""
    ranked = sorted(
        range(len(pools)),
        key=lambda i: (not pools[i].failed, pools[i].updated >= _reachable(pools[i]), i),
    )
    return [pools[i] for i in sorted(ranked[:MAX_POOLS])]


def _reachable(servers: Servers) -> int:
    return servers.servers - servers.offline


def bar(width: int, total: int, parts: Sequence[tuple[int, str]], absent: int = 0) -> Row:
    """A bar of `width` characters; every count above zero gets at least one of them."""
    cells = [_cells(count, total, width) for count, _ in parts]
    gone = _cells(absent, total, width)
    while sum(cells) + gone > width:
        largest = max(range(len(cells)), key=lambda i: cells[i])
        cells[largest] -= 1
    row: Row = [("━" * n, style) for n, (_, style) in zip(cells, parts, strict=True) if n]
    rest = width - sum(cells) - gone
    return [*row, ("─" * rest, "dim"), ("┄" * gone, "dim")]


def _cells(count: int, total: int, width: int) -> int:
    if count <= 0 or total <= 0:
        return 0
    return min(width, max(1, count * width // total))


def analysis(seen: View, layout: Layout) -> Iterator[Row]:
    """The table of the analysis: metrics with value, bound and samples."""
    if not seen.measures:
        return
    since = elapsed(seen.analysis_started, layout.now)
    yield indented([("analysis", "bold"), (f"  {seen.analysis}, for {since}".lower(), "dim")])
    heads = ("", "VALUE", "STABLE", "MUST BE", "SAMPLES", "GOOD", "BAD", "UNCLEAR")
    table = [heads, *(_cells_of(m) for m in seen.measures)]
    wide = [max(len(row[i]) for row in table) for i in range(len(heads))]
    for index, cells in enumerate(table):
        text = [
            cell.rjust(w) if i in (1, 2, 4, 5, 6, 7) else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(cells, wide, strict=True))
        ]
        if index == 0:
            yield indented([("  " + "  ".join(text), "dim")])
            continue
        measure = seen.measures[index - 1]
        mark, color = _VERDICTS.get(measure.phase, ("●", "dim"))
        figure = color if measure.phase in ("Failed", "Successful") else ""
        yield indented(
            [
                (f"{mark} ", color),
                (text[0], ""),
                ("  " + text[1], figure),
                ("  " + "  ".join(text[2:]), ""),
            ]
        )
        if measure.message:
            yield indented([("    " + measure.message, "yellow")])


def _cells_of(measure: Measure) -> tuple[str, ...]:
    samples = "" if measure.samples is None else f"{measure.samples:,}"
    good = f"{measure.successful}/{measure.count}"
    return (
        measure.name,
        measure.value or "–",
        measure.stable,
        measure.bound,
        samples,
        good,
        str(measure.failed or ""),
        str(measure.inconclusive or ""),
    )
