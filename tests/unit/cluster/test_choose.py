"""Which cluster is chosen, and what the user is told about the others."""

from __future__ import annotations

import pytest

from modelyard_local.cluster.choose import choose
from modelyard_local.cluster.errors import ClusterError


def test_takes_the_first_that_works_and_says_why_not_the_others() -> None:
    choice = choose("", {"kind": "docker is not installed", "local": ""})
    assert choice.kind == "local"
    assert choice.lines() == [
        "cluster current: skipped, it is used only when asked for with CLUSTER=current",
        "cluster kind: skipped, docker is not installed",
        "cluster local: chosen, the first that works here",
    ]


def test_prefers_kind_where_it_works() -> None:
    assert choose("", {"kind": "", "local": ""}).kind == "kind"


def test_never_takes_the_users_cluster_unasked() -> None:
    assert choose("", {"current": "", "kind": "", "local": ""}).kind != "current"
    assert choose("current", {"current": ""}).kind == "current"


def test_a_forced_cluster_that_cannot_be_used_is_an_error_and_not_replaced() -> None:
    with pytest.raises(ClusterError, match=r"CLUSTER=kind was asked for.*no Docker"):
        choose("kind", {"kind": "no Docker"})


def test_an_unknown_cluster_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match=r"CLUSTER=k3s is unknown; use one of current, kind"):
        choose("k3s", {})


def test_names_every_obstacle_where_nothing_works() -> None:
    with pytest.raises(ClusterError) as failure:
        choose("", {"kind": "no Docker", "local": "needs root"})
    assert "no Docker" in str(failure.value)
    assert "needs root" in str(failure.value)
