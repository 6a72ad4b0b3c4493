"""Text and JSON of `modelyard drift`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from modelyard.cli import times
from modelyard.cli.kube import Object, name, status
from modelyard.contract.statustext import printable

WIDTH = 48
"""Columns of a chart on a terminal."""
_BARS = "▁▂▃▄▅▆▇"
"""Heights below the threshold."""
_ALARM = "█"
MAX_LISTED = 10
"""Most servers that are listed."""

Chart = dict[str, Any]


def state(server: Object) -> str:
    """What a server knows about drift."""
    return str((status(server).get("drift") or {}).get("state") or "Unknown")


def lines(
    obj: Object, found: Sequence[Object], chosen: Object | None, charts: list[Chart], now: datetime
) -> list[str]:
    """The text: the Deployment's condition, servers, findings and charts of one of them."""
    counts = Counter(state(one) for one in found)
    counted = ", ".join(f"{number} {what}" for what, number in counts.most_common()) or "none"
    text = [f"Modelyard Deployment {name(obj)}: servers: {counted}"]
    for one in status(obj).get("conditions") or ():
        if one.get("type") == "Drifting":
            text.append(f"Drifting={one.get('status')}: {printable(one.get('message') or '')}")
    text += [f"  {_server(one, now)}" for one in _worth_telling(found)[:MAX_LISTED]]
    if chosen is not None and charts:
        text += ["", f"{name(chosen)}, {_span(charts)}; {_ALARM} is an alarm", *_table(charts)]
    elif chosen is not None:
        text += ["", f"{name(chosen)} has no charts yet"]
    return text


def as_json(
    obj: Object, found: Sequence[Object], chosen: Object | None, charts: list[Chart]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "deployment": name(obj),
        "monitoring": status(obj).get("monitoring"),
        "servers": [{"name": name(one), "drift": status(one).get("drift")} for one in found],
        "server": None if chosen is None else name(chosen),
        "charts": charts,
    }


def sparkline(levels: Sequence[float | None], width: int = WIDTH) -> str:
    """Heights of a chart, from 0 to its threshold; each column shows the highest of its points."""
    if not levels:
        return ""
    known = [0.0 if one is None else one for one in levels]
    columns = min(width, len(known))
    text = ""
    for column in range(columns):
        first = column * len(known) // columns
        height = max(known[first : max((column + 1) * len(known) // columns, first + 1)])
        text += _ALARM if height >= 1 else _BARS[max(0, int(height * len(_BARS)))]
    return text


def _table(charts: Iterable[Chart]) -> list[str]:
    rows = [("SOURCE", "SIGNAL", "LEVEL", "LAST", f"{'CHART (0 to threshold)':<{WIDTH}}")]
    for one in charts:
        points = one["points"]
        _, value, level = points[-1]
        rows.append(
            (
                printable(str(one["source"]))[:24],
                str(one["signal"]),
                "-" if level is None else f"{level:.2f}",
                "-" if value is None else f"{value:+.1f} sd",
                sparkline([point[2] for point in points]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]


def _span(charts: Iterable[Chart]) -> str:
    moments = [point[0] for one in charts for point in one["points"]]
    return f"the last {times.span(max(moments) - min(moments))}"


def _worth_telling(found: Iterable[Object]) -> list[Object]:
    """Servers with findings, drifting ones first."""
    told = [one for one in found if (status(one).get("drift") or {}).get("findings")]
    return sorted(told, key=lambda one: (state(one) != "Drifting", name(one)))


def _server(server: Object, now: datetime) -> str:
    drift = status(server).get("drift") or {}
    text = "; ".join(_finding(one, now) for one in drift.get("findings") or ())
    more = f"; {drift['more']} more" if drift.get("more") else ""
    return f"{name(server)} {state(server)}: {text}{more}"


def _finding(one: dict[str, Any], now: datetime) -> str:
    text = str(one.get("kind"))
    for key in ("source", "signal"):
        if one.get(key):
            text += f" {printable(str(one[key]))}"
    if one.get("size") is not None:
        text += f" {one['size']:+.1f}"
        text += " sd" if one.get("kind") == "Drift" else ""
    if one.get("because"):
        text += f" (with {printable(', '.join(one['because']))})"
    return f"{text}, {times.ago(one.get('since'), now)}"
