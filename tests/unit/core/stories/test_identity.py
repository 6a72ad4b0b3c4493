"""What is served is a digest, under the name that it was made for (R8, R10)."""

from __future__ import annotations

import json
from typing import Any

from modelyard.contract import paths

from ..cluster import name_of
from ..sim import BAD, Sim, error_rate
from ..world import version

HALF = {"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": {}}]}


def paused(**spec: Any) -> Sim:
    """Version 2 is on two of four servers and waits for a promote."""
    sim = Sim(edge=False, **({"rollout": HALF} | spec))
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=2, on={2: 2}, because="the step waits")
    return sim


def digests(sim: Sim, number: int | None = None) -> set[str]:
    """Digests that servers are assigned, of one version or of all."""
    assigned = [s["spec"]["assigned"] for s in sim.of("ModelServer")]
    return {a["digest"] for a in assigned if number in (None, a["version"])}


def check_named(sim: Sim, because: str) -> None:
    """Servers are assigned only digests that the status names, so that one name is one digest."""
    named = [sim.status.get(field) for field in ("stable", "candidate")]
    known = {one["digest"] for one in named if one}
    if not digests(sim) <= known:
        raise sim.failure(
            f"{digests(sim) - known} are assigned, the status names {known}: {because}"
        )


def roll_to_the_end(sim: Sim) -> None:
    """Everybody acts, and promotes, until nothing waits."""
    for number in range(4):
        sim.run()
        check_named(sim, "one name is one digest")
        if sim.status["phase"] != "Paused":
            return
        sim.ask(promote=f"step@{number}")


def test_a_stable_version_made_anew_with_other_weights_is_told_and_never_mixed() -> None:
    sim = Sim(edge=False, replicas=2)
    before = sim.status["message"]
    old = sim.status["stable"]["digest"]
    new = sim.recreate(1, weights=7)
    sim.scale(4)
    sim.operate()
    sim.workloads()
    sim.operate()
    check_named(sim, "new servers of stable must not get other weights under its name")
    roll_to_the_end(sim)
    said = [
        *sim.status.get("history", ()),
        *([sim.status["message"]] * (sim.status["message"] != before)),
    ]
    if not said or digests(sim) != {sim.status["stable"]["digest"]}:
        raise sim.failure(f"{digests(sim)} are served as shelf-1, and {said} is said of it")
    assert sim.status["stable"]["digest"] in (old, new)


def test_weights_that_change_under_stable_go_through_the_steps_of_a_rollout() -> None:
    sim = Sim(edge=False, rollout=HALF)
    old = sim.status["stable"]["digest"]
    sim.recreate(1, weights=7)
    sim.run()
    if sim.status["stable"]["digest"] != old:
        raise sim.failure("the new weights are stable, and no step of the rollout was promoted")
    check_named(sim, "half of the servers may have the candidate")


def test_a_candidate_made_anew_in_a_step_leaves_one_digest() -> None:
    sim = paused()
    sim.recreate(2, weights=7)
    sim.live(300)
    check_named(sim, "the weights of the former shelf-2 are nobody's candidate any more")
    roll_to_the_end(sim)
    sim.expect(phase="Healthy", stable=2, because="each step was promoted")
    if digests(sim) != {sim.status["stable"]["digest"]}:
        raise sim.failure(f"{digests(sim)} are served as shelf-2")


def test_a_candidate_made_anew_is_measured_anew() -> None:
    sim = paused(rollout=HALF | {"analysis": error_rate()})
    sim.figures[2] = BAD
    sim.recreate(2, weights=7)
    sim.live(900, every=30)
    why = "what was measured of other weights proves nothing"
    sim.expect(stable=1, rejected=2, on={2: 0}, because=why)


def test_a_rejected_version_made_anew_with_other_weights_is_tried() -> None:
    sim = Sim(edge=False, rollout={"steps": [{"weight": 50}], "analysis": error_rate()})
    sim.figures[2] = BAD
    sim.add(version(2))
    sim.run()
    sim.expect(stable=1, rejected=2, because="half of it fails")
    sim.figures[2] = None
    del sim.figures[2]
    new = sim.recreate(2, weights=7)
    sim.run()
    sim.expect(
        phase="Healthy", stable=2, rejected=None, because="these weights were never rejected"
    )
    assert digests(sim) == {new}


def wrong_names(sim: Sim) -> list[str]:
    """Servers whose public model name is another line's than the version that they serve."""
    found = []
    for server in sim.of("ModelServer"):
        pod = sim.objects["Pod", server["spec"]["podName"]]
        run = json.loads(pod["metadata"]["annotations"][paths.RUN_ANNOTATION])
        held = (server.get("status") or {}).get("loaded") or server["spec"]["assigned"]
        if held["modelVersion"].rpartition("-")[0] != run["modelLine"]:
            found.append(f"{name_of(server)} serves {held['modelVersion']} as {run['modelLine']}")
    return found


def test_a_model_line_that_changes_in_a_step_serves_nothing_under_the_wrong_name() -> None:
    sim = paused()
    sim.change(modelLine="other")
    sim.scale(6)
    sim.run()
    if wrong_names(sim):
        raise sim.failure("; ".join(wrong_names(sim)))
    sim.expect(stable=1, says="modelLine", because="spec.modelLine must not change: it says so")


def test_a_model_line_that_changes_at_rest_serves_nothing_under_the_wrong_name() -> None:
    sim = Sim("a-1", "a-2", "a-3")
    sim.change(modelLine="other")
    sim.live(900)
    if wrong_names(sim):
        raise sim.failure("; ".join(wrong_names(sim)))
    sim.expect(stable=1, on={1: 3}, says="modelLine", because="spec.modelLine must not change")


def test_a_model_line_that_is_put_back_goes_on_as_before() -> None:
    sim = paused()
    sim.change(modelLine="other")
    sim.run()
    sim.change(modelLine="shelf")
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=2, on={2: 2}, because="nobody has promoted it")


def test_a_version_of_another_model_line_with_the_same_number_is_not_taken() -> None:
    sim = Sim("a-1", "a-2", "a-3")
    other = version(1, modelLine="other")
    other["metadata"] |= {"name": "other-1", "uid": "uid-other-1"}
    sim.add(other)
    sim.change(modelLine="other")
    sim.live(900)
    why = "servers of the model shelf answer with versions of line shelf"
    sim.expect(phase="Degraded", stable=1, candidate=None, says="modelLine", because=why)
    named = {s["spec"]["assigned"]["modelVersion"] for s in sim.of("ModelServer")}
    assert named == {"shelf-1"}
    assert {s["spec"]["modelLine"] for s in sim.of("ModelServer")} == {"shelf"}


def test_a_model_line_that_changes_before_anything_serves_is_followed() -> None:
    sim = Sim("a-1", "a-2", "a-3", version={"policy": "Pinned", "number": 2})
    sim.change(modelLine="other")
    assert "other-2" in sim.run()["message"]


def test_new_versions_of_the_line_that_serves_go_on_while_the_spec_names_another() -> None:
    sim = Sim("a-1", "a-2", "a-3")
    sim.change(modelLine="other")
    sim.add(version(2))
    sim.run()
    why = "all but the model line of the spec counts"
    sim.expect(phase="Degraded", stable=2, on={2: 3}, says="modelLine", because=why)
