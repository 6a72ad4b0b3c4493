"""A cluster target bound to nodes of one GPU type, and versions of which there are engines only."""

from __future__ import annotations

from typing import Any

from .sim import Sim
from .world import artifact, version

PRODUCT = {"nvidia.com/gpu.product": "T4"}


def engine(number: int) -> dict[str, Any]:
    return artifact(number, name="engine", format="tensorrt", gpuProduct="T4")


def test_engines_are_rolled_out_where_pods_are_bound_to_their_hardware() -> None:
    server = {"scheduling": {"nodeSelector": PRODUCT}}
    sim = Sim(edge=False, replicas=3, server=server)
    for number in (2, 3):
        one = version(number)
        one["status"]["artifacts"] = [engine(number)]
        sim.add(one)
        status = sim.run()
        assert (status["phase"], status["stable"]["version"]) == ("Healthy", number)
        assert set(sim.assigned().values()) == {number}
        assert "unfitReplicas" not in status
