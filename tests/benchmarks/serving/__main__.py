"""`make bench-serving`: measures serving on a real Triton, writes .bench/serving-*.json.

Needs a quiet machine, buildah and the trainer image; no Kubernetes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from modelyard.cluster.progress import duration

from .. import machine, pages
from ..report import Goal, Report, Table
from . import overhead, shadow, swap
from .site import Site, site
from .trainer import NoTrainer

Result = tuple[list[dict[str, Any]], list[Table], list[Goal]]
Say = Callable[[str], None]
TITLES = {
    "swap": "The swap under load",
    "overhead": "The pipeline beside others",
    "shadow": "The cost of a shadow",
}
SMOKE = ["--swaps", "1", "--calm", "3", "--rounds", "1", "--seconds", "3", "--rate", "3"]
"""Everything once, with figures that mean nothing."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serving",
        description="Needs a quiet machine: everything else that runs is measured too.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(TITLES)}; by default all of them; `docs` renders earlier runs",
    )
    parser.add_argument("--swaps", type=int, default=10, help="swap: under each kind of load")
    parser.add_argument(
        "--calm", type=float, default=15, metavar="SECONDS", help="swap: between two swaps"
    )
    parser.add_argument("--rounds", type=int, default=5, help="overhead and shadow")
    parser.add_argument(
        "--seconds", type=float, default=20, help="overhead and shadow: of each arm in a round"
    )
    parser.add_argument("--clients", type=int, default=2, help="overhead: closed loops")
    parser.add_argument("--rate", type=float, default=15, help="shadow: requests a second")
    parser.add_argument("--share", type=float, default=0.1, help="shadow: of requests copied")
    parser.add_argument("--smoke", action="store_true", help="tiny: shows that everything runs")
    parser.add_argument(
        "--docs", action="store_true", help="put the figures into docs/benchmarks.md afterwards"
    )
    options = parser.parse_args(arguments)
    if options.smoke:
        options = parser.parse_args([*SMOKE, *arguments])
    unknown = set(options.what) - {*TITLES, "docs"}
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    return options


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
    command = f"make bench-serving BENCH='{' '.join(given)}'" if given else "make bench-serving"
    begun = time.monotonic()

    def say(line: str) -> None:
        spent = duration(time.monotonic() - begun)
        console.print(f"[dim]{spent}[/dim]  {line}", highlight=False)

    if wanted:
        try:
            with site(say) as made:
                for name in wanted:
                    _run(name, made, options, command, console, say)
        except NoTrainer as error:
            console.print(str(error))
            return 1
    if options.docs or "docs" in options.what:
        names = pages.update()
        console.print(f"docs/benchmarks.md: {', '.join(names) or 'nothing but smoke runs'}")
    return 0


def _run(
    name: str,
    made: Site,
    options: argparse.Namespace,
    command: str,
    console: Console,
    say: Say,
) -> None:
    begun = time.monotonic()
    report = Report(
        f"serving-{name}", TITLES[name], command, machine.of_serving(), vars(options).copy()
    )
    runs = {"swap": _swap, "overhead": _overhead, "shadow": _shadow}
    report.samples, report.tables, report.goals = asyncio.run(runs[name](made, options, say))
    report.seconds = round(time.monotonic() - begun, 1)
    report.write()
    report.show(console)


async def _swap(made: Site, options: argparse.Namespace, say: Say) -> Result:
    samples, swaps = await swap.measure(made, options.swaps, options.calm, say)
    return swap.dump(samples, swaps), *swap.report(samples, swaps)


async def _overhead(made: Site, options: argparse.Namespace, say: Say) -> Result:
    samples = await overhead.measure(made, options.rounds, options.seconds, options.clients, say)
    return overhead.dump(samples), *overhead.report(samples)


async def _shadow(made: Site, options: argparse.Namespace, say: Say) -> Result:
    rate, share = options.rate, options.share
    samples, answered = await shadow.measure(
        made, options.rounds, options.seconds, rate, share, say
    )
    return (
        shadow.dump(samples, answered),
        *shadow.report(samples, answered, rate, share),
    )


if __name__ == "__main__":
    sys.exit(main())
