"""Whatever fault strikes on the way, the end state is the same. See docs/testing.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from . import plans
from .conditions import CONDITIONS, Conditions
from .plans import Plan, Write
from .run import Record, Run
from .site import Site
from .workloads.catalog import WORKLOADS
from .writes import writes_status

FAILURES = Path(__file__).parents[3] / ".bench" / "faults"
"""Reports of failed plans, to read while other plans still run."""

# A worker's first test also starts a control plane and plays the undisturbed life.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in WORKLOADS]
)
def test_an_undisturbed_life_makes_the_recorded_writes(
    site: Site,
    reference: Callable[[str], Record],
    name: str,
    request: pytest.FixtureRequest,
    record_property: Callable[..., None],
) -> None:
    made = reference(name).calls
    if request.config.getoption("--record", False):
        runs = [made, *(_reference_run(site, name, one).calls for one in CONDITIONS[1:])]
        record_property("recorded", (name, [(w.name, w.always) for w in plans.merged(runs)]))
        return
    known = plans.recorded().get(name, ())
    changed = f"the operator's writes have changed: make faults-record\n{_difference(made, known)}"
    assert {write.name for write in known if write.certain} <= set(made), changed
    # How often a status is written depends on how busy the machine is; all else does not.
    unknown = set(made) - {write.name for write in known}
    assert all(writes_status(one) for one in unknown), changed
    statuses = sum(map(writes_status, made))
    assert statuses <= 1.25 * sum(writes_status(write.name) for write in known), changed


def _reference_run(site: Site, name: str, conditions: Conditions) -> Record:
    run = Run(site, WORKLOADS[name], f"{conditions.name}-{name}", conditions=conditions)
    try:
        return run.play()
    finally:
        run.clean()


def _difference(made: Sequence[str], known: Sequence[Write]) -> str:
    """What the record and a run do not have in common, a line a write."""
    missing = [write.name for write in known if write.certain and write.name not in made]
    more = sorted(set(made) - {write.name for write in known})
    return "\n".join([*(f"- {one}" for one in missing), *(f"+ {one}" for one in more)])


def test_a_plan(
    site: Site, reference: Callable[[str], Record], plan: Plan, record_property: Callable[..., None]
) -> None:
    for key, value in (
        ("plan", str(plan)),
        ("workload", plan.workload),
        ("family", plan.family),
        ("write", plan.write.name),
    ):
        record_property(key, value)
    wanted = reference(plan.workload)
    run = Run(site, WORKLOADS[plan.workload], f"plan-{plan.key}", plan=plan, reference=wanted)
    try:
        reached = run.play().reached
    except AssertionError as error:
        text = f"plan {plan}\nmake test-faults PLAN='{plan}'\n{error}"
        FAILURES.mkdir(parents=True, exist_ok=True)
        (FAILURES / f"plan-{plan.key}.txt").write_text(text)
        pytest.fail(text, pytrace=False)
    finally:
        run.clean()
    if not reached:
        pytest.skip(f"this run, unlike others, did not make the write {plan.write.name}")
