"""`make bench-fleet`: rollouts over thousands of KWOK nodes whose agents one process plays.

Writes `.bench/fleet-PART.json` for each part and prints tables; `docs` puts them into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from modelyard.cluster.progress import duration

from .. import machine, pages
from ..report import Goal, Report, Table
from . import control, objects, offline, rollout, verdicts
from .config import BAD, FleetConfig, Span
from .site import FleetSite, fleet_site

Result = tuple[list[dict[str, Any]], list[Table], list[Goal]]
Say = Callable[[str], None]
TITLES = {
    "control": "A status change of one server",
    "rollout": "A new version over the whole fleet",
    "offline": "Nodes that are away",
    "verdicts": "Good and bad candidates",
}
ONE_FLEET = ("control", "rollout", "offline")
NAME = "fleet"
SMOKE = [
    "--nodes", "60", "--small", "30", "--verdict-nodes", "40", "--seeds", "2",
    "--control-seconds", "5",
]  # fmt: skip
"""Everything once, with figures that mean nothing."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fleet",
        description="Needs a quiet machine: everything else that runs is measured too.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(TITLES)}; by default all of them; `docs` renders earlier runs",
    )
    parser.add_argument("--nodes", type=int, default=5000, help="of control, rollout, offline")
    parser.add_argument("--small", type=int, default=500, help="control: fewest nodes")
    parser.add_argument("--verdict-nodes", type=int, default=200, metavar="NODES", help="verdicts")
    parser.add_argument("--seeds", type=int, default=20, help="verdicts: candidates of each kind")
    parser.add_argument(
        "--bad", nargs="+", choices=list(BAD), default=list(BAD), help="verdicts: in which ways"
    )
    parser.add_argument("--control-seconds", type=float, default=20, metavar="SECONDS")
    parser.add_argument("--most", default="25%", metavar="PERCENT", help="maxUnavailable of a pool")
    parser.add_argument("--prestage", action="store_true", help="rollout: fetch before switching")
    parser.add_argument("--deadline", type=float, default=900, metavar="SECONDS", help="of a step")
    parser.add_argument("--smoke", action="store_true", help="tiny: shows that everything runs")
    played = parser.add_argument_group("the played agents")
    usual = FleetConfig()
    played.add_argument("--seed", type=int, default=usual.seed)
    played.add_argument("--fetch", type=float, default=usual.fetch.median, metavar="SECONDS")
    played.add_argument("--load", type=float, default=usual.load.median, metavar="SECONDS")
    played.add_argument("--fetch-failures", type=float, default=0.0, metavar="SHARE")
    played.add_argument("--requests", type=float, default=usual.requests, metavar="PER_SECOND")
    played.add_argument("--asked", type=float, default=usual.asked, metavar="SHARE")
    played.add_argument("--often", type=float, default=None, metavar="SECONDS")
    played.add_argument("--writers", type=int, default=usual.writers)
    options = parser.parse_args(arguments)
    if options.smoke:
        options = parser.parse_args([*SMOKE, *arguments])
    unknown = set(options.what) - {*TITLES, "docs"}
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    return options


def config(options: argparse.Namespace) -> FleetConfig:
    """How the agents are played."""
    usual = FleetConfig()
    return FleetConfig(
        seed=options.seed,
        fetch=Span(options.fetch, usual.fetch.sigma),
        load=Span(options.load, usual.load.sigma),
        fetch_failures=options.fetch_failures,
        requests=options.requests,
        asked=options.asked,
        often_seconds=options.often,
        writers=options.writers,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for; 0 also where goals are missed: the report says so."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 150)
    wanted = [name for name in TITLES if name in options.what]
    if not wanted and "docs" not in options.what:
        wanted = list(TITLES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = f"make bench-fleet BENCH='{' '.join(given)}'" if given else "make bench-fleet"
    begun = time.monotonic()

    def say(line: str) -> None:
        spent = duration(time.monotonic() - begun)
        console.print(f"[dim]fleet {spent}[/dim]  {escape(line)}", highlight=False)

    def done(part: str, seconds: float, result: Result) -> None:
        report = Report(f"fleet-{part}", TITLES[part], command, described, vars(options).copy())
        report.samples, report.tables, report.goals = result
        report.seconds = round(seconds, 1)
        report.write()
        report.show(console)

    described = machine.describe()
    if set(wanted) & set(ONE_FLEET):
        asyncio.run(_one_fleet(wanted, options, say, done))
    if "verdicts" in wanted:
        asyncio.run(_verdicts(options, say, done))
    if "docs" in options.what:
        names = pages.update()
        console.print(f"docs/benchmarks.md: {', '.join(names) or 'nothing but smoke runs'}")
    return 0


Done = Callable[[str, float, Result], None]


async def _one_fleet(
    wanted: Sequence[str], options: argparse.Namespace, say: Say, done: Done
) -> None:
    """The parts that share a fleet, which grows from the small to the full size."""
    first = options.small if "control" in wanted else options.nodes
    async with fleet_site(config(options), first, say, deadline=options.deadline) as site:
        await site.deploy(objects.deployment(NAME, most=options.most, prestage=options.prestage))
        if "control" in wanted:
            await _control(site, options, done)
        if not {"rollout", "offline"} & set(wanted):
            return
        begun = time.monotonic()
        full = await rollout.roll(site, NAME, 2)
        if "rollout" in wanted:
            done("rollout", time.monotonic() - begun, ([asdict(full)], *rollout.report(full)))
        if "offline" in wanted:
            begun = time.monotonic()
            found = await offline.measure(site, NAME, full, 3)
            done("offline", time.monotonic() - begun, ([asdict(found)], *offline.report(found)))


async def _control(site: FleetSite, options: argparse.Namespace, done: Done) -> None:
    begun = time.monotonic()
    found = [await control.measure(site, NAME, options.control_seconds)]
    if options.nodes > options.small:
        await site.grow(options.nodes)
        found.append(await control.measure(site, NAME, options.control_seconds))
    samples = [asdict(one) for one in found]
    done("control", time.monotonic() - begun, (samples, *control.report(found)))


async def _verdicts(options: argparse.Namespace, say: Say, done: Done) -> None:
    begun = time.monotonic()
    site = fleet_site(config(options), options.verdict_nodes, say, deadline=options.deadline)
    async with site as made:
        found = await verdicts.measure(made, options.seeds, options.bad)
    samples = [asdict(one) for one in found]
    done("verdicts", time.monotonic() - begun, (samples, *verdicts.report(found)))


if __name__ == "__main__":
    sys.exit(main())
