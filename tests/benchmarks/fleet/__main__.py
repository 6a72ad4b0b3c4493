"""`make bench-fleet`: rollouts over thousands of KWOK nodes whose agents one process plays.

Writes `.bench/fleet-PART.json` for each part and prints tables; `docs` puts them into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .. import runner
from . import control, drift, objects, offline, rollout, verdicts
from .config import BAD, FleetConfig, Span
from .site import FleetSite, fleet_site

SUITE = runner.Suite(
    target="bench-fleet",
    module="tests.benchmarks.fleet",
    titles={
        "control": "A status change of one server",
        "rollout": "A new version over the whole fleet",
        "offline": "Nodes that are away",
        "drift": "Drift of many servers",
        "verdicts": "Good and bad candidates",
    },
    smoke=[
        "--nodes", "60", "--small", "30", "--verdict-nodes", "40", "--seeds", "2",
        "--control-seconds", "5",
    ],
    prefix="fleet-",
)  # fmt: skip
ONE_FLEET = ("control", "rollout", "offline", "drift")
NAME = "fleet"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = SUITE.parser()
    parser.add_argument(
        "--nodes", type=int, default=5000, help="of control, rollout, offline, drift"
    )
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
    return SUITE.parse(parser, arguments)


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


def measure(session: runner.Session) -> None:
    """Runs the parts that are asked for."""
    if set(session.wanted) & set(ONE_FLEET):
        asyncio.run(_one_fleet(session))
    if "verdicts" in session.wanted:
        asyncio.run(_verdicts(session))


async def _one_fleet(session: runner.Session) -> None:
    """The parts that share a fleet, which grows from the small to the full size."""
    options, wanted = session.options, session.wanted
    first = options.small if "control" in wanted else options.nodes
    played = config(options)
    async with fleet_site(played, first, session.say, deadline=options.deadline) as site:
        # Heartbeats as operations.md has them for large fleets: 50 a second in all.
        after = "5m" if options.nodes <= 5_000 else "10m"
        await site.deploy(
            objects.deployment(
                NAME, most=options.most, prestage=options.prestage, offline_after=after
            )
        )
        if "control" in wanted:
            await _control(site, session)
        if "rollout" in wanted:
            with session.part("rollout") as report:
                full = await rollout.roll(site, NAME, 2)
                report.samples = [asdict(full)]
                report.tables, report.goals = rollout.report(full)
        elif "offline" in wanted:  # It is compared with a rollout over all nodes.
            full = await rollout.roll(site, NAME, 2)
        if "offline" in wanted:
            with session.part("offline") as report:
                found = await offline.measure(site, NAME, full, 3)
                report.samples = [asdict(found)]
                report.tables, report.goals = offline.report(found)
        if "drift" in wanted:
            with session.part("drift") as report:
                steps = await drift.measure(site, NAME, options.control_seconds)
                report.samples = [asdict(one) for one in steps]
                report.tables, report.goals = drift.report(steps, site.count)


async def _control(site: FleetSite, session: runner.Session) -> None:
    options = session.options
    with session.part("control") as report:
        found = [await control.measure(site, NAME, options.control_seconds)]
        if options.nodes > options.small:
            await site.grow(options.nodes)
            found.append(await control.measure(site, NAME, options.control_seconds))
        report.samples = [asdict(one) for one in found]
        report.tables, report.goals = control.report(found)


async def _verdicts(session: runner.Session) -> None:
    options = session.options
    with session.part("verdicts") as report:
        site = fleet_site(
            config(options), options.verdict_nodes, session.say, deadline=options.deadline
        )
        async with site as made:
            found = await verdicts.measure(made, options.seeds, options.bad)
        report.samples = [asdict(one) for one in found]
        report.tables, report.goals = verdicts.report(found)


if __name__ == "__main__":
    sys.exit(runner.run(SUITE, parse, measure))
