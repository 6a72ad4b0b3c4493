"""Polls a rollout and shows it: redrawn on a terminal, else one line per change.

`Reader` reads the Deployment, `Screen` shows it, `follow` is the loop of `modelyard rollout status
--watch` and `--wait`.
"""

from __future__ import annotations

import enum
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from modelyard.cli import rolloutdraw, rollouttables, rolloutview, servers
from modelyard.cli.errors import UNREACHABLE, CliError
from modelyard.cli.kube import Cluster, Object
from modelyard.cli.rolloutview import Failure, View

if TYPE_CHECKING:
    from rich.live import Live

REFRESH_SECONDS = 1.0
FAILURES_SECONDS = 10.0
"""Minimum interval between two reads of failed servers."""
MAX_FAILURES = 5


class Output(enum.StrEnum):
    """Output formats of `rollout status`."""

    TEXT = "text"
    JSON = "json"


class Reader:
    """Reads one Deployment, and less often its failed servers."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name
        self._failures: tuple[Failure, ...] = ()
        self._counted = 0
        self._failures_read_at = -FAILURES_SECONDS
        self._last: View | None = None
        self.read_error = ""
        """Why the last view is stale; empty if it is not."""

    def read(self, *, tolerant: bool = False) -> View:
        """The current view. With `tolerant`, the last one while the cluster cannot be reached."""
        try:
            obj = self._cluster.get("Deployment", self._namespace, self._name)
            self._last = rolloutview.view(obj, self._failed(obj))
            self.read_error = ""
        except CliError as error:
            if not tolerant or self._last is None or error.code != UNREACHABLE:
                raise
            self.read_error = str(error)
        return self._last

    def _failed(self, obj: Object) -> tuple[Failure, ...]:
        count = int((obj.get("status") or {}).get("failedReplicas") or 0)
        now = time.monotonic()
        if bool(count) != bool(self._counted) or now - self._failures_read_at >= FAILURES_SECONDS:
            self._failures = servers.failures(self._cluster, obj, MAX_FAILURES)
            self._counted, self._failures_read_at = count, now
        return self._failures


class Screen:
    """Shows views: redrawn on a terminal, else one line per change."""

    def __init__(self, output: Output, command: str) -> None:
        from rich.console import Console

        self._console = Console()
        self._output, self._command = output, command
        self._live: Live | None = None
        self._last = ""

    def __enter__(self) -> None:
        from rich.live import Live

        if self._console.is_terminal and self._output is Output.TEXT:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def once(self, seen: View) -> None:
        """Shows the whole view once."""
        from rich.console import Group

        if self._output is Output.JSON:
            typer.echo(json.dumps(seen.as_json()))
        elif self._console.is_terminal:
            self._console.print(Group(*rolloutdraw.lines(seen, self._layout())))
        else:
            typer.echo(rolloutdraw.plain(seen, self._layout()))

    def show(self, seen: View, read_error: str) -> None:
        """Shows a change: redraws the view on a terminal, else prints a line."""
        if self._live is None:
            self._line(seen, read_error)
            return
        from rich.console import Group
        from rich.text import Text

        lines = rolloutdraw.lines(seen, self._layout())
        if read_error:
            lines = [Text(f"stale: {read_error}", "yellow"), *lines]
        self._live.update(Group(*lines), refresh=True)

    def _line(self, seen: View, read_error: str) -> None:
        text = json.dumps(seen.as_json()) if self._output is Output.JSON else ""
        text = text or read_error or rolloutdraw.sentence(seen)
        if text == self._last:
            return
        self._last = text
        if self._output is Output.TEXT:
            text = f"{datetime.now().astimezone():%H:%M:%S} {seen.name}: {text}"
        typer.echo(text)
        sys.stdout.flush()

    def _layout(self) -> rollouttables.Layout:
        return rollouttables.Layout(
            now=datetime.now(UTC),
            width=self._console.width if self._console.is_terminal else 100,
            bars=self._console.is_terminal,
            command=self._command,
        )


def follow(
    reader: Reader, screen: Screen, *, until_end: bool, seconds: float | None
) -> bool | None:
    """Shows changes until the rollout ends or `seconds` have passed. Returns whether it succeeded;
    None if it did not end in time."""
    started = time.monotonic()
    followed: int | None = None
    while True:
        seen = reader.read(tolerant=True)
        screen.show(seen, reader.read_error)
        if until_end and not reader.read_error:
            good = rolloutview.ended(seen)
            if seen.rolling:
                followed = seen.revision
            if good is not None:
                outcome = rolloutview.outcome_of(seen, followed)
                return good and outcome not in ("RolledBack", "Aborted")
        if seconds is not None and time.monotonic() - started >= seconds:
            return None
        time.sleep(REFRESH_SECONDS)
