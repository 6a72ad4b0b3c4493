"""Reads a rollout again and again, and shows it: live on a terminal, else as lines."""

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
"""Failed servers are read at most so often."""
MOST_FAILURES = 5


class Output(enum.StrEnum):
    """How `status` writes."""

    TEXT = "text"
    JSON = "json"


class Reader:
    """Reads one Deployment again and again, and now and then its failed servers."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name
        self._failures: tuple[Failure, ...] = ()
        self._counted = 0
        self._looked = -FAILURES_SECONDS
        self._last: View | None = None
        self.trouble = ""
        """Why what was returned last is not news."""

    def read(self, *, patient: bool = False) -> View:
        """The present view. Where the cluster cannot be reached for a while, a patient reader
        returns what it saw last."""
        try:
            obj = self._cluster.get("Deployment", self._namespace, self._name)
            self._last = rolloutview.view(obj, self._failed(obj))
            self.trouble = ""
        except CliError as error:
            if not patient or self._last is None or error.code != UNREACHABLE:
                raise
            self.trouble = str(error)
        return self._last

    def _failed(self, obj: Object) -> tuple[Failure, ...]:
        count = int((obj.get("status") or {}).get("failedReplicas") or 0)
        now = time.monotonic()
        if bool(count) != bool(self._counted) or now - self._looked >= FAILURES_SECONDS:
            self._failures = servers.failures(self._cluster, obj, MOST_FAILURES)
            self._counted, self._looked = count, now
        return self._failures


class Screen:
    """Where views are shown: live on a terminal, else as lines."""

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
        """The whole view."""
        from rich.console import Group

        if self._output is Output.JSON:
            typer.echo(json.dumps(seen.as_json()))
        elif self._console.is_terminal:
            self._console.print(Group(*rolloutdraw.lines(seen, self._paper())))
        else:
            typer.echo(rolloutdraw.plain(seen, self._paper()))

    def show(self, seen: View, trouble: str) -> None:
        """What has changed: the whole view on a terminal, else a line."""
        if self._live is None:
            self._line(seen, trouble)
            return
        from rich.console import Group
        from rich.text import Text

        lines = rolloutdraw.lines(seen, self._paper())
        if trouble:
            lines = [Text(f"as last seen: {trouble}", "yellow"), *lines]
        self._live.update(Group(*lines), refresh=True)

    def _line(self, seen: View, trouble: str) -> None:
        text = json.dumps(seen.as_json()) if self._output is Output.JSON else ""
        text = text or trouble or rolloutdraw.sentence(seen)
        if text == self._last:
            return
        self._last = text
        if self._output is Output.TEXT:
            text = f"{datetime.now().astimezone():%H:%M:%S} {seen.name}: {text}"
        typer.echo(text)
        sys.stdout.flush()

    def _paper(self) -> rollouttables.Paper:
        return rollouttables.Paper(
            now=datetime.now(UTC),
            width=self._console.width if self._console.is_terminal else 100,
            bars=self._console.is_terminal,
            command=self._command,
        )


def follow(
    reader: Reader, screen: Screen, *, until_end: bool, seconds: float | None
) -> bool | None:
    """Shows changes; returns whether the rollout ended well, None if it did not in time."""
    started = time.monotonic()
    followed: int | None = None
    while True:
        seen = reader.read(patient=True)
        screen.show(seen, reader.trouble)
        if until_end and not reader.trouble:
            good = rolloutview.ended(seen)
            if seen.rolling:
                followed = seen.revision
            if good is not None:
                outcome = rolloutview.outcome_of(seen, followed)
                return good and outcome not in ("RolledBack", "Aborted")
        if seconds is not None and time.monotonic() - started >= seconds:
            return None
        time.sleep(REFRESH_SECONDS)
