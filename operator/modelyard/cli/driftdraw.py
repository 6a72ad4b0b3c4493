"""Draws the charts of `modelyard drift --out`: each signal's height against its threshold.

Pillow is imported on use, since it is slow to import and most commands do not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.cli.draw import class_color
from modelyard.cli.draw import save as save_picture
from modelyard.contract.statustext import printable

if TYPE_CHECKING:
    from PIL import Image

WIDTH, PANEL = 960, 110
"""Pixels: of the picture, and the height of one chart."""
_LEFT, _RIGHT, _TOP = 12, 12, 26
_TALLEST = 1.5
"""Height in thresholds at which a panel ends; what is higher touches its edge."""
_INK, _GREY, _ALARM = (40, 40, 40), (200, 200, 200), (200, 30, 30)


def save(charts: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Writes the picture. Raises CliError."""
    save_picture(draw(charts, title), path)


def draw(charts: Sequence[dict[str, Any]], title: str) -> Image.Image:
    """One panel for each chart, over one time axis."""
    from PIL import Image, ImageDraw, ImageFont

    moments = [point[0] for one in charts for point in one["points"]]
    first, last = min(moments), max(moments)
    picture = Image.new("RGB", (WIDTH, _TOP + PANEL * len(charts)), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    span = " to ".join(_time(one) for one in (first, last))
    pen.text((_LEFT, 6), f"{printable(title)}: {span} (UTC)", fill=_INK, font=font)
    for number, one in enumerate(charts):
        _panel(pen, one, number, (first, max(last - first, 1)), font)
    return picture


def _panel(
    pen: Any, chart: dict[str, Any], number: int, span: tuple[float, float], font: Any
) -> None:
    top = _TOP + PANEL * number + 18
    bottom = top + PANEL - 26
    first, length = span

    def place(moment: float, level: float) -> tuple[float, float]:
        x = _LEFT + (moment - first) / length * (WIDTH - _LEFT - _RIGHT)
        return x, bottom - min(level, _TALLEST) / _TALLEST * (bottom - top)

    threshold = place(first, 1.0)[1]
    pen.line((_LEFT, bottom, WIDTH - _RIGHT, bottom), fill=_GREY)
    for dash in range(_LEFT, WIDTH - _RIGHT, 12):
        pen.line((dash, threshold, dash + 6, threshold), fill=_ALARM)
    points = [(moment, level) for moment, _, level in chart["points"] if level is not None]
    where = [place(moment, level) for moment, level in points]
    if len(where) > 1:
        pen.line(where, fill=class_color(number), width=2)
    for (_, level), (x, y) in zip(points, where, strict=True):
        if level >= 1 or len(where) == 1:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_ALARM if level >= 1 else _INK)
    label = f"{printable(str(chart['source']))}  {chart['signal']}"
    pen.text((_LEFT, top - 16), label, fill=_INK, font=font)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
