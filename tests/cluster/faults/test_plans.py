"""Whatever goes wrong on the way, the end is the same. See docs/testing.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import plans
from .plans import Plan
from .run import Record, Run
from .site import Site
from .workloads.catalog import WORKLOADS

FAILURES = Path(__file__).parents[3] / ".bench" / "faults"
"""Where people may look while other plans go on."""

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in WORKLOADS]
)
def test_an_undisturbed_life_makes_the_recorded_calls(
    reference: Callable[[str], Record], name: str, request: pytest.FixtureRequest
) -> None:
    calls = reference(name).calls
    if request.config.getoption("--record", False):
        plans.record(name, calls)
    known = sorted(plans.recorded().get(name, ()))
    assert sorted(calls) == known, "the operator's writes have changed: make faults-record"


def test_a_plan(
    site: Site, reference: Callable[[str], Record], plan: Plan, record_property: Callable[..., None]
) -> None:
    for key in ("workload", "family", "at", "call"):
        record_property(key, getattr(plan, key))
    record_property("plan", plan.number)
    wanted = reference(plan.workload)
    workload = WORKLOADS[plan.workload]
    run = Run(site, workload, f"plan-{plan.number}", plan=plan, reference=wanted)
    try:
        run.play()
    except AssertionError as error:
        text = f"plan {plan}, at {plan.call}: make test-faults PLAN={plan.number}\n{error}"
        FAILURES.mkdir(parents=True, exist_ok=True)
        (FAILURES / f"plan-{plan.number}.txt").write_text(text)
        pytest.fail(text, pytrace=False)
    finally:
        run.clean()
