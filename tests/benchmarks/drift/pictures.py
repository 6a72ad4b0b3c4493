"""The pictures of docs/drift.md, as SVG: `python -m tests.benchmarks.drift.pictures`.

One stream on its chart, by the product's code; and the false alarms of the last full run in
`.bench/drift-null.json`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modelyard.drift import cusum

from ..report import FOLDER, ROOT, Report
from . import servers

WIDTH, HEIGHT, LEFT = 860, 150, 70
INK, BLUE, RED, GREY = "#24292f", "#0969da", "#cf222e", "#8c959f"


def main() -> None:
    """Writes both."""
    (ROOT / "docs" / "drift-chart.svg").write_text(_chart())
    report = Report.read(FOLDER / "drift-null.json")
    (ROOT / "docs" / "drift-null.svg").write_text(_null(report))


def _chart() -> str:
    """A stream that shifts by 1.1 sd of a block, and its two sums."""
    rng = np.random.default_rng(11)
    base, watched = rng.standard_normal((400, 1)), rng.standard_normal(260)
    changed = 150
    watched[changed:] -= 1.1
    charts = servers.calibrate(base, np.zeros(1))
    z = cusum.standardise(watched, charts.mean[0], charts.sd[0])
    up = cusum.path(z - charts.allowance[0])
    down = cusum.path(-z - charts.allowance[0])
    alarm = int(np.argmax(down > charts.down[0]))
    zero = int(np.flatnonzero(down[: alarm + 1] == 0)[-1])
    parts = [
        _text(LEFT, 18, "TopScore of each block, in sd of a block", bold=True),
        _axes(30, (-4, 0, 4), -4.5, 4.5),
        _line(z, 30, -4.5, 4.5, BLUE, dots=True),
        _text(LEFT, 218, "CUSUM, up (grey) and down (blue), and the threshold h", bold=True),
        _axes(230, (0, 5, 10), 0, 14),
        _line(np.minimum(up, 14), 230, 0, 14, GREY),
        _line(np.minimum(down, 14), 230, 0, 14, BLUE),
        _level(charts.down[0], 230, 0, 14, RED),
        _mark(changed, len(z), 30, 380, GREY, "the change"),
        _mark(zero + 1, len(z), 230, 398, BLUE, "since"),
        _mark(alarm, len(z), 230, 380, RED, "alarm"),
    ]
    return _svg(parts, 410, "A signal in blocks above, its CUSUM chart with the threshold below")


def _null(report: Report) -> str:
    """Realised / declared false alarms of each cell, on a logarithmic axis."""
    low, high = 0.25, 100.0
    cells = report.samples
    parts = [_text(20, 18, "False alarms realised / declared (1 is right)", bold=True)]
    scale = (WIDTH - 340) / math.log(high / low)

    def x(ratio: float) -> float:
        return 300 + scale * math.log(min(max(ratio, low), high) / low)

    bottom = 40 + 24 * len(cells)
    for tick in (0.5, 1, 2, 5, 10, 50):
        colour = INK if tick == 1 else "#d0d7de"
        parts.append(
            f'<path d="M{x(tick):.1f} 30V{bottom}" stroke="{colour}" stroke-width="1"/>'
            + _text(x(tick) - 6, bottom + 16, f"{tick:g}")
        )
    for number, cell in enumerate(cells):
        y = 42 + 24 * number
        name = "naive" if cell["naive"] else "Modelyard"
        label = f"AR(1) {cell['rho']:g}, {cell['baseline']:,} blocks, {name}"
        colour = RED if cell["naive"] else BLUE
        parts.append(_text(20, y + 9, label))
        parts.append(f'<circle cx="{x(cell["ratio"]):.1f}" cy="{y + 5}" r="5" fill="{colour}"/>')
        parts.append(_text(x(cell["ratio"]) + 9, y + 9, f"{cell['ratio']:.2f}"))
    return _svg(parts, bottom + 30, "False alarms realised over declared, by estimator")


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="13"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _y(value: float, top: float, low: float, high: float) -> float:
    return top + HEIGHT * (high - value) / (high - low)


def _x(index: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - 20) * index / count


def _line(
    values: np.ndarray, top: float, low: float, high: float, colour: str, *, dots: bool = False
) -> str:
    points = [(_x(i, len(values)), _y(float(v), top, low, high)) for i, v in enumerate(values)]
    if dots:
        made = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8"/>' for x, y in points]
        return f'<g fill="{colour}">{"".join(made)}</g>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _level(value: float, top: float, low: float, high: float, colour: str) -> str:
    y = _y(value, top, low, high)
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - 20}" stroke="{colour}" stroke-dasharray="6 4"/>'
        + _text(WIDTH - 60, y - 6, f"h = {value:.1f}", colour)
    )


def _axes(top: float, ticks: Sequence[float], low: float, high: float) -> str:
    parts = [f'<path d="M{LEFT} {top}v{HEIGHT}h{WIDTH - LEFT - 20}" fill="none" stroke="{INK}"/>']
    for tick in ticks:
        y = _y(tick, top, low, high)
        parts.append(f'<path d="M{LEFT - 4} {y:.1f}h4" stroke="{INK}"/>')
        parts.append(_text(LEFT - 28, y + 4, f"{tick:g}"))
    return "".join(parts)


def _mark(index: int, count: int, top: float, bottom: float, colour: str, label: str) -> str:
    x = _x(index, count)
    return f'<path d="M{x:.1f} {top}V{bottom}" stroke="{colour}" stroke-dasharray="3 3"/>' + _text(
        x + 4, bottom + 4, label, colour
    )


def _text(x: float, y: float, text: str, colour: str = INK, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{text}</text>'


if __name__ == "__main__":
    main()
