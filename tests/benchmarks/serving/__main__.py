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
from . import batches, footprint, overhead, overheadfigures, profile, profilefigures, shadow, swap
from .arms import LABELS
from .site import IMAGE_SIZES, SIZES, Site, site

SUITE = runner.Suite(
    target="bench-serving",
    module="tests.benchmarks.serving",
    titles={
        "swap": "The swap under load",
        "overhead": "The pipeline beside others",
        "shadow": "The cost of a shadow",
        "profile": "Where the time goes",
        "batches": "Several images at once",
        "footprint": "Memory and start",
    },
    smoke=[
        *("--swaps", "1", "--calm", "3", "--rounds", "1", "--seconds", "1", "--rate", "3"),
        *("--clients", "1,2", "--networks", "320", "--images", "640x480"),
    ],
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
    parser.add_argument("--rounds", type=int, help="by default 1 of overhead, 5 of shadow, else 3")
    parser.add_argument(
        "--seconds",
        type=float,
        help="of each arm in a round, more for slow ones: by default 2 in overhead, 20 in shadow",
    )
    parser.add_argument(
        "--clients", type=_numbers, default=[1, 2, 8, 32], help="overhead: numbers of closed loops"
    )
    parser.add_argument(
        "--networks", type=_numbers, default=list(SIZES), help="sizes of networks, such as 320,640"
    )
    parser.add_argument(
        "--images",
        type=_names,
        default=list(IMAGE_SIZES),
        help="sizes of images: 640x480,1920x1080",
    )
    parser.add_argument("--arms", type=_names, default=list(LABELS), help=f"of {', '.join(LABELS)}")
    parser.add_argument("--against", metavar="COMMIT", help="overhead, footprint: that layout too")
    parser.add_argument("--rate", type=float, default=15, help="shadow: requests a second")
    parser.add_argument("--share", type=float, default=0.1, help="shadow: of requests copied")
    return SUITE.parse(parser, arguments)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _names(text: str) -> list[str]:
    return text.split(",")


def measure(session: runner.Session) -> None:
    """Runs the parts that are asked for."""
    runs = {
        "swap": _swap,
        "overhead": _overhead,
        "shadow": _shadow,
        "profile": _profile,
        "batches": _batches,
        "footprint": _footprint,
    }
    with site(session.say) as made:
        for name in session.wanted:
            with session.part(name) as report:
                found = runs[name](made, session.options, session.say)
                report.samples, report.tables, report.goals = found


def _swap(made: Site, options: argparse.Namespace, say: Say) -> Result:
    samples, swaps = asyncio.run(swap.measure(made, options.swaps, options.calm, say))
    return swap.dump(samples, swaps), *swap.report(samples, swaps)


def _overhead(made: Site, options: argparse.Namespace, say: Say) -> Result:
    wanted = overhead.Wanted(
        rounds=options.rounds or 1,
        seconds=options.seconds or 2,
        clients=options.clients,
        networks=options.networks,
        images=options.images,
        arms=options.arms,
        against=options.against,
    )
    samples, left_out = overhead.measure(made, wanted, say)
    return overheadfigures.dump(samples, left_out), *overheadfigures.report(samples, left_out)


def _shadow(made: Site, options: argparse.Namespace, say: Say) -> Result:
    rounds, seconds = options.rounds or 5, options.seconds or 20
    rate, share = options.rate, options.share
    samples, answered = asyncio.run(shadow.measure(made, rounds, seconds, rate, share, say))
    return shadow.dump(samples, answered), *shadow.report(samples, answered, rate, share)


def _profile(made: Site, options: argparse.Namespace, say: Say) -> Result:
    seconds, size, image = options.seconds or 8, options.networks[0], options.images[0]
    profiles, notes = profile.measure(made, seconds, size, image, say)
    return profilefigures.dump(profiles), *profilefigures.report(profiles, notes)


def _batches(made: Site, options: argparse.Namespace, say: Say) -> Result:
    rounds, seconds = options.rounds or 3, options.seconds or 3
    size, image = options.networks[0], options.images[0]
    samples, left_out = batches.measure(made, rounds, seconds, size, image, say)
    return batches.dump(samples, left_out), *batches.report(samples, left_out)


def _footprint(made: Site, options: argparse.Namespace, say: Say) -> Result:
    rounds, size = options.rounds or 3, options.networks[0]
    samples, left_out = footprint.measure(made, rounds, size, options.against, say)
    return footprint.dump(samples, left_out), *footprint.report(samples, left_out)


if __name__ == "__main__":
    sys.exit(runner.run(SUITE, parse, measure))
