"""What the command line asks and shows, against what the operator decides.

The decisions are the operator's own; pods and agents are played.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.rollout import Rollout
from modelyard.api.rolloutstages import stages as decided_stages
from modelyard.cli import rolloutactions as actions
from modelyard.cli import rolloutdraw
from modelyard.cli.rollouttables import Layout
from modelyard.cli.rolloutview import ended, view

from ..core.sim import Sim
from ..core.world import NOW, World, deployment, made_by, version

STEPS = st.lists(
    st.one_of(
        st.builds(lambda n: {"weight": n}, st.integers(1, 100)),
        st.builds(lambda n: {"nodes": n}, st.integers(1, 500)),
        st.builds(lambda p: {"pool": p}, st.sampled_from(["north", "south"])),
    ),
    max_size=4,
)


@given(steps=STEPS, prestage=st.booleans(), shadow=st.booleans(), edge=st.booleans())
def test_the_stages_are_those_that_the_operator_goes_through(
    steps: list[dict[str, Any]], prestage: bool, shadow: bool, edge: bool
) -> None:
    rollout: dict[str, Any] = {"steps": steps, "prestage": prestage}
    if shadow:
        rollout["shadow"] = {}
    wanted = decided_stages(Rollout.model_validate(rollout), edge=edge)
    target = {"edge": {"nodeSelector": {"a": "b"}}} if edge else {"cluster": {}}
    for index, stage in enumerate(wanted):
        state = {
            "stage": stage.kind,
            "step": stage.number,
            "stageStartedAt": "2026-11-17T10:00:00Z",
        }
        obj = deployment(rollout=rollout, target=target, status={"rollout": state, "phase": "x"})
        seen = view(obj)
        assert len(seen.stages) == len(wanted)
        assert [s.state for s in seen.stages].index("Running") == index
        shown = seen.stages[index].title
        for known in (stage.pool, stage.nodes):
            assert known is None or str(known) in shown
        if stage.weight is not None:
            share = "all servers" if stage.weight == 100 else f"{stage.weight} % of servers"
            assert shown == share


class Scene:
    """A Deployment of four servers with a pause after the first, whose line gets versions."""

    def __init__(self) -> None:
        rollout = {"maxUnavailable": 4, "steps": [{"weight": 25, "pause": {}}]}
        target = {"cluster": {"replicas": 4}}
        self.world = World(deployment(rollout=rollout, target=target), version(1))
        self.settle()
        (workload,) = self.world.of("apps/Deployment")
        for number in range(4):
            self.world.add(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {**made_by(workload), "name": f"cameras-{number}"},
                    "spec": {"nodeName": "node-1"},
                    "status": {
                        "phase": "Running",
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                }
            )
        self.serve()

    @property
    def obj(self) -> dict[str, Any]:
        return self.world.objects["Deployment", "cameras"]

    def settle(self) -> None:
        self.world.settle("Deployment", "cameras")

    def load(self) -> None:
        """Agents bring their servers to what they are assigned."""
        for server in self.world.of("ModelServer"):
            assigned = server["spec"]["assigned"]
            held = {k: assigned[k] for k in ("modelVersion", "version", "digest", "pipeline")}
            server["status"] = {"phase": "Ready", "loaded": held}

    def serve(self) -> None:
        """Goes on until nothing changes any more."""
        for _ in range(6):
            self.settle()
            self.load()
        self.settle()

    def act(self, request: actions.Request) -> str:
        """Annotates as the command line does; what it would tell."""
        before = {**self.obj, "status": dict(self.obj["status"])}
        value = request.value(NOW)
        self.obj["metadata"].setdefault("annotations", {})[request.annotation] = value
        self.world.reconcile("Deployment", "cameras")
        assert actions.acted_on(self.obj, request, value)
        return actions.result_text(request, before, self.obj).removeprefix(
            "Modelyard Deployment cameras "
        )

    def text(self) -> str:
        return rolloutdraw.plain(view(self.obj), Layout(NOW, bars=False))


def waiting() -> Scene:
    """Version 2 is on one of four servers, at the pause."""
    scene = Scene()
    assert ended(view(scene.obj)) is True
    scene.world.add(version(2))
    scene.serve()
    return scene


def test_a_pause_is_drawn_and_promoted() -> None:
    scene = waiting()
    text = scene.text()
    assert text.startswith("cameras  Paused  shelf-1 → shelf-2\n")
    assert "‖ 25 % of servers  1 of 1" in text
    assert "modelyard rollout promote cameras" in text
    assert scene.act(actions.promote(scene.obj, full=False)).startswith("goes on: all servers")
    scene.serve()
    assert ended(view(scene.obj)) is True
    assert scene.text().startswith("cameras  Healthy  shelf-2\n")


def test_promoting_in_full() -> None:
    scene = waiting()
    told = scene.act(actions.promote(scene.obj, full=True))
    assert told == "rolls shelf-2 out to all servers without further pauses"
    scene.serve()
    assert view(scene.obj).stable == "shelf-2"


def test_pause_and_resume() -> None:
    scene = Scene()
    scene.world.add(version(2))
    scene.settle()
    assert scene.act(actions.pause(scene.obj)).startswith("is paused at 25 % of servers")
    scene.serve()
    assert "paused by request" in scene.text()
    assert scene.act(actions.resume(scene.obj)) == (
        "goes on: 25 % of servers, 1 of 1 servers; waits for a promote"
    )


def test_abort_and_retry() -> None:
    scene = waiting()
    assert scene.act(actions.abort(scene.obj)).startswith("goes back to shelf-1; shelf-2 is not")
    scene.serve()
    text = scene.text()
    assert text.startswith("cameras  Degraded  shelf-1\n")
    assert "rolled back  shelf-2" in text
    assert "Aborted" in text
    assert ended(view(scene.obj)) is False
    assert scene.act(actions.retry(scene.obj)).startswith("retries shelf-2: 25 % of servers")
    scene.serve()
    assert "waits for a promote" in scene.text()


def test_rollback_to_the_version_before_and_to_another() -> None:
    scene = waiting()
    scene.act(actions.promote(scene.obj, full=True))
    scene.serve()
    assert scene.act(actions.rollback(scene.obj, None)).startswith("goes from shelf-2 to shelf-1")
    scene.serve()
    text = scene.text()
    assert text.startswith("cameras  Healthy  shelf-1\n")
    assert "version 1 is served instead of 2, as a user requested" in text
    assert scene.act(actions.rollback(scene.obj, 2)).startswith("goes from shelf-1 to shelf-2")
    scene.serve()
    assert view(scene.obj).stable == "shelf-2"


def test_rollback_during_a_rollout() -> None:
    scene = waiting()
    assert scene.act(actions.rollback(scene.obj, 1)) == "goes back to shelf-1"


def drawn(sim: Sim) -> list[str]:
    seen = view(sim.mdep)
    return list(rolloutdraw.sentence(seen).split("; ")) + [
        f"{stage.title}: {stage.state}" for stage in seen.stages
    ]


def test_a_shadow_that_is_taken_out_of_the_spec_leads_to_the_first_step() -> None:
    shadow = {"shadow": {"duration": "1h"}, "prestage": True}
    steps = {"steps": [{"weight": 50, "pause": {}}]}
    sim = Sim("a-1", "a-2", rollout=shadow | steps)
    sim.add(version(2))
    sim.run(rounds=2)
    assert "shadow: Running" in drawn(sim)
    sim.change("", rollout={"prestage": True} | steps)
    sim.run()
    assert drawn(sim)[-3:] == ["prestage: Done", "50 % of servers: Paused", "all servers: Waiting"]


def test_what_is_waited_for_is_shown_beside_a_pause() -> None:
    sim = Sim(edge=False, replicas=2, rollout={"steps": [{"weight": 50, "pause": {}}]})
    sim.add(version(2))
    sim.run()
    assert "waits for a promote" in drawn(sim)
    assert not view(sim.mdep).message_shown, "the halt is drawn with its commands"
    sim.change("", target={"cluster": {"replicas": 0}})
    sim.run()
    assert any("goes on when a server is there" in part for part in drawn(sim))


def test_an_unknown_pool_is_shown() -> None:
    sim = Sim("a-1", "b-1", rollout={"steps": [{"pool": "nowhere"}]})
    sim.add(version(2))
    sim.run()
    assert any("no server is in this pool" in part for part in drawn(sim))
