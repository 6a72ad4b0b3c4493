"""Draws a rollout as lines of styled text, for a terminal or, without colours and bars, for a file.

It draws a `View` (`rolloutview.py`); the tables are in `rollouttables.py`. `sentence` is the
one-line form for logs and messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelyard.api.rolloutstatus import HaltReason
from modelyard.cli import rollouthistory, times
from modelyard.cli.errors import one_line
from modelyard.cli.rolloutstages import DONE, PAUSED, RUNNING, WAITING, Stage
from modelyard.cli.rollouttables import Layout, Row, analysis, bar, indented, servers
from modelyard.cli.rolloutview import View, elapsed
from modelyard.contract import attribution

if TYPE_CHECKING:
    from rich.text import Text

MAX_RECORDS = 3
MAX_ACTIONS = 2
_PHASES = {
    "Healthy": "green",
    "Degraded": "red",
    "Paused": "yellow",
    "Progressing": "cyan",
    "Pending": "yellow",
}
_MARKS = {
    DONE: ("✔", "green"),
    RUNNING: ("●", "cyan"),
    PAUSED: ("‖", "yellow"),
    WAITING: ("○", "dim"),
}
OUTCOMES = {"Succeeded": "green", "RolledBack": "red", "Aborted": "yellow", "Superseded": "dim"}


def lines(seen: View, layout: Layout) -> list[Text]:
    """The rollout as styled lines."""
    from rich.text import Text

    made = []
    for row in _rows(seen, layout):
        text = Text(no_wrap=True, overflow="ellipsis")
        for part, style in row:
            text.append(part, style or None)
        text.rstrip()
        made.append(text)
    return made


def plain(seen: View, layout: Layout) -> str:
    """The rollout as text without styles."""
    rows = ("".join(part for part, _ in row).rstrip() for row in _rows(seen, layout))
    return "\n".join(rows)


def _rows(seen: View, layout: Layout) -> Iterator[Row]:
    sections = (
        _head(seen, layout),
        _stages(seen, layout),
        servers(seen, layout),
        analysis(seen, layout),
        _failures(seen, layout),
        _rejected(seen, layout),
        _history(seen, layout),
    )
    for index, section in enumerate(sections):
        rows = list(section)
        if rows and index:
            yield []
        yield from rows


def _head(seen: View, layout: Layout) -> Iterator[Row]:
    color = _PHASES.get(seen.phase, "dim")
    row: Row = [(seen.name, "bold"), ("  ", ""), (seen.phase, f"bold {color}"), ("  ", "")]
    yield [*row, *_versions(seen)]
    about = f"namespace {seen.namespace}, model line {seen.line}, {seen.target}"
    yield indented([(about, "dim")])
    if seen.rolling and (seen.trigger or seen.started):
        number = f"rollout {seen.revision}" if seen.revision else "rollout"
        started = times.ago(seen.started, layout.now)
        cause = f"{seen.trigger}{attribution.by(seen.by)}" if seen.trigger else ""
        parts = [p for p in (cause, f"started {started}" if started else "") if p]
        yield indented([(f"{number}: {', '.join(parts)}", "dim")])
        if seen.actions:
            done = ", ".join(
                f"{rollouthistory.action_text(one)} {times.ago(one.get('at'), layout.now)}"
                for one in seen.actions[-MAX_ACTIONS:]
            )
            yield indented([(one_line(done, layout.width - 4), "dim")])
    if seen.message_shown or (
        seen.message and seen.halt and seen.halt.reason == HaltReason.INCONCLUSIVE
    ):
        style = color if seen.phase in ("Degraded", "Pending") else ""
        yield from _wrapped(seen.message, layout, style)
    if not seen.current:
        yield indented([("the operator has not seen the latest change of the spec yet", "yellow")])
    yield from _halt(seen, layout)
    if seen.override:
        text = (
            f"version {seen.override.get('version')} is served instead of "
            f"{seen.override.get('insteadOf')}, as "
            f"{attribution.readable(seen.override.get('by')) or 'a user'} requested "
            f"{times.ago(seen.override.get('at'), layout.now)}"
        )
        yield indented([(text, "yellow")])


def _versions(seen: View) -> Row:
    if not seen.candidate:
        return [(seen.stable or "serves nothing yet", "bold" if seen.stable else "dim")]
    if seen.candidate == seen.stable:
        return [(seen.stable, "bold"), (" with new settings", "")]
    return [(seen.stable or "nothing", ""), (" → ", "dim"), (seen.candidate, "bold")]


def _halt(seen: View, layout: Layout) -> Iterator[Row]:
    halt = seen.halt
    if halt is None:
        return
    until = times.moment(halt.until)
    row: Row = [("‖ ", "yellow"), (halt.text, "yellow")]
    if until is not None:
        left = times.span((until - layout.now).total_seconds())
        clock = until.astimezone(layout.zone).strftime("%H:%M:%S")
        row.append((f" until {clock}, {left} left", "yellow"))
    elif halt.since:
        row.append((f", for {elapsed(halt.since, layout.now)} now", "yellow"))
    yield indented(row)
    if halt.command:
        effect = "continues now" if until is not None else "continues"
        offers = [(halt.command, effect)]
        if halt.reason == HaltReason.INCONCLUSIVE:
            offers.append(("resume", "measures again"))
        if halt.reason in (HaltReason.STEP, HaltReason.INCONCLUSIVE):
            offers.append(("abort", f"goes back to {seen.stable or 'nothing'}"))
        typed = [layout.command.format(action, seen.name) for action, _ in offers]
        wide = max(len(command) for command in typed)
        for command, (_, effect) in zip(typed, offers, strict=True):
            yield indented([("  ", ""), (command.ljust(wide), "bold"), (f"   {effect}", "dim")])
    else:
        yield indented([("  set it to false to go on", "dim")])


def _stages(seen: View, layout: Layout) -> Iterator[Row]:
    if not seen.rolling or len(seen.stages) == 1:
        if not seen.rolling and len(seen.stages) > 1:
            way = " → ".join(stage.title for stage in seen.stages)
            yield indented([("A new version takes  ", "dim"), (one_line(way), "dim")])
        return
    wide = max(len(stage.title) for stage in seen.stages)
    for stage in seen.stages:
        yield indented(_stage(stage, wide, layout))


def _stage(stage: Stage, wide: int, layout: Layout) -> Row:
    mark, color = _MARKS[stage.state]
    present = stage.state in (RUNNING, PAUSED)
    title = "bold" if present else "dim" if stage.state == WAITING else ""
    row: Row = [(f"{mark} ", color), (stage.title.ljust(wide + 2), title)]
    if present:
        if layout.bars:
            row += [*bar(20, stage.target, [(stage.done, color)]), ("  ", "")]
        row.append((f"{stage.done:,} of {stage.target:,}", ""))
        if stage.since:
            row.append((f"  for {elapsed(stage.since, layout.now)}", "dim"))
    if stage.note:
        row.append((f"{'  ' if present else ''}{stage.note}", "dim"))
    return row


def _failures(seen: View, layout: Layout) -> Iterator[Row]:
    if not seen.failures:
        return
    yield indented([("failed servers", "bold red")])
    for one in seen.failures:
        where = f"  on {one.node}" if one.node and one.node != one.name else ""
        yield indented([("✘ ", "red"), (one.name, ""), (where, "dim")])
        yield indented([("  " + one_line(one.message, layout.width - 6), "red")])
    left = seen.all.failed - len(seen.failures)
    if left > 0:
        yield indented([(f"and {left:,} more", "dim")])


def _rejected(seen: View, layout: Layout) -> Iterator[Row]:
    rejected = seen.rejected
    if not rejected:
        return
    when = times.ago(rejected.get("at"), layout.now)
    yield indented(
        [
            ("rolled back", "bold red"),
            (f"  {rejected.get('modelVersion')}, {when}: ", ""),
            (str(rejected.get("reason") or ""), "red"),
        ]
    )
    message = str(rejected.get("message") or "")
    if message and message not in seen.message:
        yield from _wrapped(message, layout, "", deeper=2)
    retry = layout.command.format("retry", seen.name)
    effect = "   retries it; a newer version is rolled out automatically"
    yield indented([("  ", ""), (retry, "bold"), (effect, "dim")])


def _history(seen: View, layout: Layout) -> Iterator[Row]:
    if not seen.history:
        return
    command = layout.command.replace("rollout {} {}", f"history {seen.name}")
    yield indented([("history", "bold"), (f"  {command}", "dim")])
    shown = seen.history[:MAX_RECORDS]
    wide = max(len(str(r.get("modelVersion"))) for r in shown)
    number = max(len(str(r.get("revision"))) for r in shown)
    for record in shown:
        outcome = str(record.get("outcome") or "")
        took = times.between(record.get("startedAt"), record.get("endedAt"))
        row: Row = [
            (f"{record.get('revision')!s:>{number}}  ", "dim"),
            (f"{record.get('modelVersion')!s:<{wide}}  ", ""),
            (f"{outcome:<10}", OUTCOMES.get(outcome, "")),
            (f"  {times.ago(record.get('endedAt'), layout.now)}, took {took}", "dim"),
        ]
        if record.get("servers"):
            count = record["servers"]
            row.append((f", {count:,} server{'' if count == 1 else 's'}", "dim"))
        if record.get("by"):
            row.append((attribution.by(record["by"]), "dim"))
        yield indented(row)
        if record.get("message") and outcome != "Succeeded":
            text = one_line(record["message"], layout.width - number - 6)
            yield indented([(" " * (number + 2) + text, "dim")])


def _wrapped(message: str, layout: Layout, style: str, deeper: int = 0) -> Iterator[Row]:
    """A message, wrapped to at most three lines."""
    import textwrap

    text = one_line(message, 3 * (layout.width - 4))
    for line in textwrap.wrap(text, max(40, layout.width - 4 - deeper)):
        yield indented([(" " * deeper + line, style)])


def sentence(seen: View) -> str:
    """The state of the rollout in one line, for logs."""
    parts = [seen.phase]
    stage = seen.stage
    if seen.candidate:
        parts.append(f"{seen.stable or 'nothing'} → {seen.candidate}")
    elif seen.stable:
        parts.append(seen.stable)
    if stage is not None:
        parts.append(f"{stage.title} {stage.done:,} of {stage.target:,}")
    counts = seen.all
    parts.append(f"{counts.updated:,} of {counts.servers:,} updated, {counts.ready or 0:,} ready")
    parts += [
        f"{count:,} {word}"
        for count, word in ((counts.offline, "offline"), (counts.failed, "failed"))
        if count
    ]
    if seen.halt is not None:
        parts.append(seen.halt.text + (f" until {seen.halt.until}" if seen.halt.until else ""))
    parts += [
        f"{m.name} {m.value or '–'} (must be {m.bound}) {m.successful}/{m.count}"
        for m in seen.measures
    ]
    waits = seen.rolling and seen.phase in ("Paused", "Suspended")
    if seen.phase in ("Degraded", "Pending") or (waits and seen.message_shown):
        parts += [seen.message] if seen.message else []
    return "; ".join(parts)
