"""`make bench`: measures the operator, writes .bench/NAME.json and prints tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import creation, memory, restart, runner
from .figures import LABELS
from .report import Report, Result

SUITE = runner.Suite(
    target="bench",
    module="tests.benchmarks",
    titles={
        "create": "Objects to their children, and to their end",
        "memory": "Memory",
        "restart": "Restart and idling",
    },
    smoke=[
        "--sizes", "100x1", "--memory", "160", "--live", "100", "--restarts", "1", "--idle", "15",
    ],
)  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = SUITE.parser()
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
        "--idle", type=float, default=60, metavar="SECONDS", help="restart, memory: without work"
    )
    parser.add_argument(
        "--workers", type=int, default=16, help="objects that each controller works on at a time"
    )
    parser.add_argument(
        "--deadline", type=float, default=300, metavar="SECONDS", help="of each step of a sample"
    )
    return SUITE.parse(parser, arguments)


def _size(text: str) -> creation.Size:
    try:
        return creation.Size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def measure(session: runner.Session) -> None:
    """Runs the benchmarks that are asked for."""
    for name in session.wanted:
        with session.part(name, _parameters(name, session.options)) as report:
            found = _run(name, report, session)
            report.samples, report.tables, report.goals = found


def _run(name: str, report: Report, session: runner.Session) -> Result:
    options, say = session.options, session.say
    runs: dict[str, Callable[[], Result]] = {
        "create": lambda: _create(report, session),
        "memory": lambda: memory.run(
            options.memory, options.idle, options.workers, options.deadline, say
        ),
        "restart": lambda: restart.run(
            options.live, options.restarts, options.idle, options.workers, options.deadline, say
        ),
    }
    return runs[name]()


def _create(report: Report, session: runner.Session) -> Result:
    options = session.options
    made = creation.run(options.sizes, options.arms, options.workers, options.deadline, session.say)
    report.arms = made.arms
    return made.dump(), made.tables(), made.goals()


def _parameters(name: str, options: argparse.Namespace) -> dict[str, Any]:
    common = {"smoke": options.smoke, "workers": options.workers}
    own: dict[str, dict[str, Any]] = {
        "create": {"sizes": [str(size) for size in options.sizes]},
        "memory": {"objects": options.memory, "idle": options.idle},
        "restart": {"objects": options.live, "restarts": options.restarts, "idle": options.idle},
    }
    return {**common, **own[name]}


if __name__ == "__main__":
    sys.exit(runner.run(SUITE, parse, measure))
