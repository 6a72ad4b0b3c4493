"""`make bench-serving`: measures serving on a real Triton, writes .bench/serving-*.json.

Needs a quiet machine, buildah and the trainer image; no Kubernetes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from .. import machine, runner
from ..report import Result, Say
from . import overhead, shadow, swap
from .site import Site, site

SUITE = runner.Suite(
    target="bench-serving",
    module="tests.benchmarks.serving",
    titles={
        "swap": "The swap under load",
        "overhead": "The pipeline beside others",
        "shadow": "The cost of a shadow",
    },
    smoke=["--swaps", "1", "--calm", "3", "--rounds", "1", "--seconds", "3", "--rate", "3"],
    prefix="serving-",
    describe=machine.of_serving,
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = SUITE.parser()
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
    return SUITE.parse(parser, arguments)


def measure(session: runner.Session) -> None:
    """Runs the parts that are asked for."""
    runs = {"swap": _swap, "overhead": _overhead, "shadow": _shadow}
    with site(session.say) as made:
        for name in session.wanted:
            with session.part(name) as report:
                found = asyncio.run(runs[name](made, session.options, session.say))
                report.samples, report.tables, report.goals = found


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
    sys.exit(runner.run(SUITE, parse, measure))
