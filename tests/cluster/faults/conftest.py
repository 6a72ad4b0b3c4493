"""Options, the site, references by need, and the report of the fault plans."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import plans
from .run import Record, Run
from .site import Site
from .workloads.catalog import WORKLOADS

REPORTS = Path(__file__).parents[3] / ".bench"
_results = pytest.StashKey[list[dict[str, Any]]]()
OUTCOMES = ("passed", "failed", "skipped")
"""Of a plan; skipped: its write, which is not made in every run, was not made."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--plan", action="append", help="run fault plans by name, or part of it")
    group.addoption("--every-plan", action="store_true", help="run all fault plans")
    group.addoption("--record", action="store_true", help="record the reference runs' writes anew")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "plan" in metafunc.fixturenames:
        # Unknown unless pytest was started with this folder: conftests of others add no options.
        named = metafunc.config.getoption("--plan", None)
        every = metafunc.config.getoption("--every-plan", False)
        chosen = plans.every() if every else plans.subset()
        if named:
            chosen = plans.matching(named)
            if not chosen:
                raise pytest.UsageError(f"no fault plan's name contains {' or '.join(named)!r}")
        marked = [
            pytest.param(plan, id=str(plan), marks=pytest.mark.xdist_group(plan.workload))
            for plan in chosen
        ]
        metafunc.parametrize("plan", marked)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def reference(site: Site) -> Callable[[str], Record]:
    """The reference run of a workload; made when it is first asked for."""
    known: dict[str, Record] = {}

    def get(name: str) -> Record:
        if name not in known:
            run = Run(site, WORKLOADS[name], f"reference-{name}")
            try:
                known[name] = run.play()
            finally:
                run.clean()
        return known[name]

    return get


# The report.


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_results] = []
    config.pluginmanager.register(Reporter(config), "faults-report")


class Reporter:
    """Collects the plans' results, from other processes too."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.monotonic()
        self._recorded: dict[str, list[plans.Write]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        if report.when == "call" and "plan" in found:
            result = {**found, "outcome": report.outcome, "seconds": round(report.duration, 2)}
            self._config.stash[_results].append(result)
        if report.when == "call" and "recorded" in found:
            workload, writes = found["recorded"]
            self._recorded[workload] = [plans.Write(*one) for one in writes]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._recorded:
            plans.record(self._recorded, WORKLOADS)
        results = self._config.stash[_results]
        if not results:
            return
        report = summary(results, time.monotonic() - self._started)
        terminalreporter.section("fault plans")
        for name, row in {**report["workloads"], **report["families"]}.items():
            terminalreporter.write_line(
                f"{name:14} {row['plans']:4} plans {row['failed']:3} failed "
                f"{row['skipped']:3} skipped {row['seconds']:7.1f} s"
            )
        terminalreporter.write_line(
            f"{report['plans']} of {report['known']} plans run, {report['failed']} failed, "
            f"{report['skipped']} skipped, {report['wallSeconds']:.0f} s"
        )
        for result in results:
            if result["outcome"] == "failed":
                terminalreporter.write_line(replay(result["plan"]))
        if not self._config.getoption("--plan", None):
            every = self._config.getoption("--every-plan", False)
            path = REPORTS / ("faults.json" if every else "faults-subset.json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({**report, "results": results}, indent=1) + "\n")


def replay(plan: str) -> str:
    """What to type to run a plan again."""
    return f"replay: make test-faults PLAN='{plan}'"


def summary(results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Counts and times, over all and by workload and family."""

    def by(what: str) -> dict[str, Any]:
        rows: dict[str, Counter[str]] = {}
        for result in results:
            empty = Counter(dict.fromkeys(("plans", *OUTCOMES, "seconds"), 0))
            row = rows.setdefault(result[what], empty)
            row.update({"plans": 1, result["outcome"]: 1, "seconds": result["seconds"]})
        return {name: {**row, "seconds": round(row["seconds"], 1)} for name, row in rows.items()}

    return {
        "plans": len(results),
        "known": len(plans.every()),
        **{one: sum(result["outcome"] == one for result in results) for one in OUTCOMES},
        "wallSeconds": round(seconds, 1),
        "processors": os.cpu_count(),
        "writes": {name: len(writes) for name, writes in plans.recorded().items()},
        "workloads": by("workload"),
        "families": by("family"),
    }
