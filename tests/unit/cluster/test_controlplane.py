"""What a control plane's components are started with."""

from __future__ import annotations

from pathlib import Path

from modelyard_local.cluster import ControlPlane, components


def test_more_flags_of_a_component_come_last_and_reach_no_other(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "plane", more_flags={"etcd": ["--log-level=debug"]})
    plane.layout.make()
    plan = plane.plan({name: Path(name) for name in plane.tools})
    signed = components.credentials(plan)
    # The last one of a flag that is given twice is what counts.
    assert plane._component("etcd", plan, signed).command[-1] == "--log-level=debug"
    assert "--log-level=debug" not in plane._component("kube-apiserver", plan, signed).command
