"""`make bench`: measures the operator, writes .bench/NAME.json and prints tables."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from modelyard.cluster.progress import duration

from . import creation, machine, memory, pages, restart
from .figures import LABELS
from .report import Goal, Report, Table

Result = tuple[list[dict[str, Any]], list[Table], list[Goal]]
TITLES = {
    "create": "Objects to their children, and to their end",
    "memory": "Memory",
    "restart": "Restart and idling",
}
SMOKE = ["--sizes", "100x1", "--memory", "160", "--live", "100", "--restarts", "1", "--idle", "15"]
"""Everything once, with figures that mean nothing."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Needs a quiet machine: everything else that runs is measured too.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="BENCHMARK",
        help=f"{', '.join(TITLES)}; by default all of them; `docs` renders earlier runs",
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        default=[creation.Size(1000, 5, 3), creation.Size(5000, 3, 1)],
        metavar="OBJECTSxROUNDS[/LIVES]",
        help="create: how many, and rounds that go on to the end (default 1000x5/3 5000x3/1)",
    )
    parser.add_argument(
        "--arms", nargs="+", choices=list(LABELS), default=list(LABELS), help="create: default all"
    )
    parser.add_argument(
        "--memory", nargs="+", type=int, default=[1000, 10000], metavar="OBJECTS", help="memory"
    )
    parser.add_argument("--live", type=int, default=5000, metavar="OBJECTS", help="restart")
    parser.add_argument("--restarts", type=int, default=3, metavar="TIMES", help="restart")
    parser.add_argument(
        "--idle", type=float, default=60, metavar="SECONDS", help="restart: after the last one"
    )
    parser.add_argument(
        "--workers", type=int, default=16, help="objects that each controller works on at a time"
    )
    parser.add_argument(
        "--deadline", type=float, default=300, metavar="SECONDS", help="of each step of a sample"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny: shows that everything runs")
    parser.add_argument(
        "--docs", action="store_true", help="put the figures into docs/benchmarks.md afterwards"
    )
    options = parser.parse_args(arguments)
    if options.smoke:
        options = parser.parse_args([*SMOKE, *arguments])
    unknown = set(options.what) - {*TITLES, "docs"}
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    return options


def _size(text: str) -> creation.Size:
    try:
        return creation.Size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for; 0 also where goals are missed: the report says so."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 150)
    wanted = [name for name in TITLES if name in options.what]
    if not wanted and "docs" not in options.what:
        wanted = list(TITLES)
    # Ended by SIGTERM too, it stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = f"make bench BENCH='{' '.join(given)}'" if given else "make bench"
    for name in wanted:
        _run(name, options, command, console)
    if options.docs or "docs" in options.what:
        names = pages.update()
        console.print(f"docs/benchmarks.md: {', '.join(names) or 'nothing but smoke runs'}")
    return 0


def _run(name: str, options: argparse.Namespace, command: str, console: Console) -> None:
    begun = time.monotonic()

    def say(line: str) -> None:
        spent = duration(time.monotonic() - begun)
        console.print(f"[dim]{name} {spent}[/dim]  {line}", highlight=False)

    report = Report(name, TITLES[name], command, machine.describe(), _parameters(name, options))
    runs: dict[str, Callable[[], Result]] = {
        "create": lambda: _create(report, options, say),
        "memory": lambda: memory.run(options.memory, options.workers, options.deadline, say),
        "restart": lambda: restart.run(
            options.live, options.restarts, options.idle, options.workers, options.deadline, say
        ),
    }
    report.samples, report.tables, report.goals = runs[name]()
    report.seconds = round(time.monotonic() - begun, 1)
    report.write()
    report.show(console)


def _create(report: Report, options: argparse.Namespace, say: Callable[[str], None]) -> Result:
    made = creation.run(options.sizes, options.arms, options.workers, options.deadline, say)
    report.arms = made.arms
    return made.dump(), made.tables(), made.goals()


def _parameters(name: str, options: argparse.Namespace) -> dict[str, Any]:
    common = {"smoke": options.smoke, "workers": options.workers}
    own: dict[str, dict[str, Any]] = {
        "create": {"sizes": [str(size) for size in options.sizes]},
        "memory": {"objects": options.memory},
        "restart": {"objects": options.live, "restarts": options.restarts, "idle": options.idle},
    }
    return {**common, **own[name]}


if __name__ == "__main__":
    sys.exit(main())
