"""Whatever goes wrong on the way, the end is the same. See docs/testing.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from . import plans
from .plans import Plan
from .run import Record, Run
from .site import Site
from .workloads.catalog import WORKLOADS

FAILURES = Path(__file__).parents[3] / ".bench" / "faults"
"""Where people may look while other plans go on."""

STATUS = "patch status of "
"""How a call is written down that writes a status."""

# A worker's first test also starts a control plane and plays the undisturbed life.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in WORKLOADS]
)
def test_an_undisturbed_life_makes_the_recorded_calls(
    reference: Callable[[str], Record], name: str, request: pytest.FixtureRequest
) -> None:
    calls = reference(name).calls
    if request.config.getoption("--record", False):
        plans.record(name, calls)
    known = plans.recorded().get(name, ())
    changed = "the operator's writes have changed: make faults-record"
    assert _counted(calls) == _counted(known), changed
    # A look may find two changes at once or one after the other, so how often a status is written
    # depends on how busy the machine is; all else does not.
    now, before = _statuses(calls), _statuses(known)
    assert set(now) == set(before), changed
    assert abs(len(now) - len(before)) <= len(before) // 4, changed


def _statuses(calls: Iterable[str]) -> list[str]:
    return [one for one in calls if one.startswith(STATUS)]


def _counted(calls: Iterable[str]) -> Counter[str]:
    return Counter(one for one in calls if not one.startswith(STATUS))


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
