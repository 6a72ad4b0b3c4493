"""The command line that all benchmarks share: which parts, progress, reports, the page."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from modelyard_local.cluster.progress import duration

from . import machine, pages
from .report import FOLDER, Report


class CannotMeasure(Exception):
    """Something is missing; the message says what to do."""


@dataclass(frozen=True)
class Suite:
    """Benchmarks that one target of the Makefile runs."""

    target: str
    module: str
    """What `python -m` takes."""
    titles: Mapping[str, str]
    """Of each part, in order."""
    smoke: Sequence[str]
    """Arguments that run everything once, with figures that mean nothing."""
    prefix: str = ""
    """What the names of reports begin with."""
    describe: Callable[[], dict[str, Any]] = machine.describe

    def parser(self) -> argparse.ArgumentParser:
        """Takes the arguments of every suite; a suite adds its own."""
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}",
            description="Needs a quiet machine: everything else that runs is measured too.",
        )
        parser.add_argument(
            "what",
            nargs="*",
            metavar="PART",
            help=f"{', '.join(self.titles)}; by default all of them; `docs` renders earlier runs",
        )
        parser.add_argument("--smoke", action="store_true", help="tiny: shows that everything runs")
        parser.add_argument(
            "--docs", action="store_true", help="put the figures into docs/benchmarks.md afterwards"
        )
        return parser

    def parse(
        self, parser: argparse.ArgumentParser, arguments: Sequence[str]
    ) -> argparse.Namespace:
        """The options; what a smoke run is given goes before its own. Exits on a mistake."""
        options = parser.parse_args(arguments)
        if options.smoke:
            options = parser.parse_args([*self.smoke, *arguments])
        unknown = set(options.what) - {*self.titles, "docs"}
        if unknown:
            parser.error(f"no part is called {', '.join(sorted(unknown))}")
        return options


class Session:
    """One run of a suite."""

    def __init__(
        self, suite: Suite, options: argparse.Namespace, command: str, folder: Path = FOLDER
    ) -> None:
        self.options = options
        self.wanted = [name for name in suite.titles if name in options.what]
        if not self.wanted and "docs" not in options.what:
            self.wanted = list(suite.titles)
        self.console = Console(width=None if sys.stdout.isatty() else 150)
        self._suite, self._command, self._folder = suite, command, folder
        self._begun = time.monotonic()
        self._label = suite.target
        # Before anything of ours is a load.
        self._machine = suite.describe() if self.wanted else {}

    def say(self, line: str) -> None:
        """Prints what goes on."""
        spent = duration(time.monotonic() - self._begun)
        self.console.print(f"[dim]{self._label} {spent}[/dim]  {escape(line)}", highlight=False)

    @contextmanager
    def part(self, name: str, parameters: dict[str, Any] | None = None) -> Iterator[Report]:
        """A report for samples, tables and goals, timed; written and shown at the end.
        `parameters` are all options if they are not given."""
        report = Report(
            name=f"{self._suite.prefix}{name}",
            title=self._suite.titles[name],
            command=self._command,
            machine=self._machine,
            parameters=vars(self.options).copy() if parameters is None else parameters,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        begun, before, self._label = time.monotonic(), self._label, name
        try:
            yield report
        finally:
            self._label = before
        report.seconds = round(time.monotonic() - begun, 1)
        report.write(self._folder)
        report.show(self.console)


def run(
    suite: Suite,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    measure: Callable[[Session], None],
    arguments: Sequence[str] | None = None,
    folder: Path = FOLDER,
) -> int:
    """Measures what was asked for; 0 also where goals are missed: the report says so."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(given)
    # Ended by SIGTERM too, it stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    make = f"make {suite.target}"
    command = f"{make} BENCH='{' '.join(given)}'" if given else make
    session = Session(suite, options, command, folder)
    if session.wanted:
        try:
            measure(session)
        except CannotMeasure as error:
            session.console.print(str(error), markup=False)
            return 1
    if options.docs or "docs" in options.what:
        for line in pages.update(folder=folder) or ["no report of a full run in .bench/"]:
            session.console.print(f"docs/benchmarks.md: {line}", markup=False, highlight=False)
    return 0
