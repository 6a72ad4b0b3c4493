"""`make bench-drift`: false alarms and delays of the charts of drift, into .bench/drift-*.json.

NumPy streams and drawn scenes on one core, in about 15 minutes; no cluster, no Triton.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# One core: what is measured are rates, not seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from .. import machine, runner
from . import days, fleet, images, null, peers

SUITE = runner.Suite(
    target="bench-drift",
    module="tests.benchmarks.drift",
    titles={
        "null": "False alarms and delays on correlated images",
        "days": "Days that differ",
        "fleet": "A fleet with nothing wrong",
        "images": "Changes of images",
        "peers": "Beside other detectors",
    },
    smoke=["--servers", "4", "--years", "20", "--watched", "10", "--streams", "2"],
    prefix="drift-",
    describe=machine.of_statistics,
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = SUITE.parser()
    parser.add_argument("--servers", type=int, default=120, help="servers a cell")
    parser.add_argument("--watched", type=float, default=90, metavar="DAYS", help="null: so long")
    parser.add_argument("--years", type=int, default=1000, help="fleet: years that are played")
    parser.add_argument("--streams", type=int, default=40, help="peers: streams a detector")
    parser.add_argument("--seed", type=int, default=0)
    return SUITE.parse(parser, arguments)


def measure(session: runner.Session) -> None:
    """Runs the parts that are asked for."""
    options = session.options
    runs = {
        "null": lambda say: null.measure(options.servers, options.seed, say, days=options.watched),
        "days": lambda say: days.measure(3 * options.servers, options.seed, say),
        "fleet": lambda say: fleet.measure(options.years, options.seed, say),
        "images": lambda say: images.measure(options.servers, options.seed, say),
        "peers": lambda say: peers.measure(options.streams, options.seed, say),
    }
    for name in session.wanted:
        with session.part(name) as report:
            report.samples, report.tables, report.goals = runs[name](session.say)


if __name__ == "__main__":
    sys.exit(runner.run(SUITE, parse, measure))
