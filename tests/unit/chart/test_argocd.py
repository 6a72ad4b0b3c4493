"""Argo CD's health checks and actions: the Lua itself runs, in what Argo CD leaves of the language.

https://argo-cd.readthedocs.io/en/stable/operator-manual/resource_actions/
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from modelyard.api import ALL_KINDS
from modelyard.cli import rolloutactions
from modelyard.core.conditions import READY, Cond
from modelyard.core.policy import Verdict
from modelyard.core.statusing import compose, unfinished

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "charts/modelyard/files/argocd"
DATA = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
ACTIONS = yaml.safe_load(DATA["resource.customizations.actions.modelyard.dev_Deployment"])
NOW = datetime(2026, 11, 17, 10, tzinfo=UTC)


def run(script: str, obj: dict[str, Any]) -> Any:
    """What a script returns for an object. As in Argo CD, string, math, io and debug are missing,
    and os has only date and time and must be asked for."""
    lua = lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=False)
    lua.execute(
        """
        local os_ = {date = os.date, time = os.time}
        package.loaded.os, package.preload.os = nil, function() return os_ end
        string, math, io, debug, os, python = nil, nil, nil, nil, nil, nil
        """
    )
    lua.globals()["obj"] = _to_lua(lua, obj)
    return _from_lua(lua.execute(script))


def _to_lua(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({k: _to_lua(lua, v) for k, v in value.items() if v is not None})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, v) for v in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys and keys == list(range(1, len(keys) + 1)):
        return [_from_lua(value[key]) for key in keys]
    return {key: _from_lua(value[key]) for key in keys}


def deployment(generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "cameras", "namespace": "vision", "generation": generation},
        "spec": {"modelLine": "shelf"},
        "status": {"observedGeneration": 1, "phase": "Progressing", "message": "m", **status},
    }


def as_operator(phase: str, *, ready: bool = False, stalled: bool = False) -> dict[str, Any]:
    """A status as the operator composes it."""
    obj = deployment()
    if ready:
        cond = Cond(READY, True, "Served", "m")
        return compose(obj, phase=phase, message="m", conds=[cond], now=NOW)
    verdict = Verdict("Reason", "m", phase=phase, stalled=stalled)
    return unfinished(obj, verdict, own={}, now=NOW)


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda info: info.kind)
@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (as_operator("Healthy", ready=True), "Healthy"),
        (as_operator("Suspended", ready=True), "Healthy"),
        (as_operator("Degraded", ready=True), "Degraded"),
        (as_operator("Progressing"), "Progressing"),
        (as_operator("Pending"), "Progressing"),
        (as_operator("Paused"), "Suspended"),
        (as_operator("Paused", stalled=True), "Suspended"),
        (as_operator("Suspended"), "Suspended"),
        (as_operator("Failed", stalled=True), "Degraded"),
        (as_operator("Degraded", stalled=True), "Degraded"),
    ],
)
def test_health(info: Any, status: dict[str, Any], wanted: str) -> None:
    script = DATA[f"resource.customizations.health.modelyard.dev_{info.kind}"]
    assert run(script, deployment() | {"status": status}) == {"status": wanted, "message": "m"}


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda info: info.kind)
def test_health_of_each_phase(info: Any) -> None:
    script = DATA[f"resource.customizations.health.modelyard.dev_{info.kind}"]

    def health(status: dict[str, Any]) -> Any:
        return run(script, deployment() | {"status": status})["status"]

    for phase in info.phases:
        if phase in info.good:
            assert health(as_operator(phase, ready=True)) == "Healthy"
        elif phase in info.bad:
            assert health(as_operator(phase, stalled=True)) == "Degraded"
        else:
            assert health(as_operator(phase)) in ("Progressing", "Suspended")


def test_health_before_the_operator_has_looked() -> None:
    script = DATA["resource.customizations.health.modelyard.dev_Deployment"]
    fresh = deployment()
    del fresh["status"]
    assert run(script, fresh)["status"] == "Progressing"
    old = deployment(generation=2, **as_operator("Healthy", ready=True))
    assert run(script, old) == {
        "status": "Progressing",
        "message": "the operator has not seen the latest change yet",
    }
    going = deployment(**as_operator("Healthy", ready=True))
    going["metadata"]["deletionTimestamp"] = "2026-11-17T10:00:00Z"
    assert run(script, going)["message"] == "is being deleted"


STABLE = {"modelVersion": "shelf-4", "version": 4}
HISTORY = [
    {"version": 5, "outcome": "RolledBack"},
    {"version": 4, "outcome": "Succeeded"},
    {"version": 3, "outcome": "Succeeded"},
]


def paused(reason: str) -> dict[str, Any]:
    return deployment(rollout={"paused": {"reason": reason}}, history=HISTORY, stable=STABLE)


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        (deployment(), set()),
        (deployment(rollout={"stage": "Step"}), {"promote", "promote-full", "pause", "abort"}),
        (paused("Step"), {"promote", "promote-full", "pause", "abort"}),
        (paused("Inconclusive"), {"promote", "promote-full", "pause", "resume", "abort"}),
        (paused("Requested"), {"promote", "promote-full", "resume", "abort"}),
        (paused("Spec"), {"abort"}),
        (deployment(rejected={"version": 5}), {"retry"}),
        (deployment(stable=STABLE, history=HISTORY), {"rollback"}),
        (deployment(stable=STABLE, history=HISTORY[:2]), set()),
    ],
)
def test_what_is_offered(obj: dict[str, Any], wanted: set[str]) -> None:
    offered = run(ACTIONS["discovery.lua"], obj)
    assert {name for name, one in offered.items() if not one["disabled"]} == wanted
    assert set(offered) == {one["name"] for one in ACTIONS["definitions"]}


def test_nothing_breaks_without_a_status() -> None:
    fresh = deployment()
    del fresh["status"]
    assert all(one["disabled"] for one in run(ACTIONS["discovery.lua"], fresh).values())
    for one in ACTIONS["definitions"]:
        assert run(one["action.lua"], fresh)["kind"] == "Deployment"


@pytest.mark.parametrize(
    ("name", "annotation", "word"),
    [
        ("promote", "promote", "step"),
        ("promote-full", "promote", "full"),
        ("pause", "pause", "pause"),
        ("resume", "resume", "resume"),
        ("abort", "abort", "abort"),
        ("retry", "retry", "retry"),
        ("rollback", "rollback", "3"),
    ],
)
def test_an_action_writes_its_annotation_and_nothing_else(
    name: str, annotation: str, word: str
) -> None:
    (script,) = (d["action.lua"] for d in ACTIONS["definitions"] if d["name"] == name)
    obj = deployment(stable=STABLE, history=HISTORY)
    for known in ({}, {"mine": "kept"}):
        before = obj | {"metadata": obj["metadata"] | ({"annotations": known} if known else {})}
        after = run(script, before)
        annotations = after["metadata"].pop("annotations")
        value = annotations.pop(rolloutactions.PREFIX + annotation)
        assert annotations == known
        assert after["metadata"] == obj["metadata"]
        assert (after["spec"], after["status"]) == (obj["spec"], obj["status"])
        asked, _, when = value.partition("@")
        assert asked == word
        written = datetime.fromisoformat(when.replace("Z", "+00:00"))
        assert abs(written - datetime.fromtimestamp(time.time(), UTC)) < timedelta(minutes=1)
        assert re.fullmatch(r"[0-9T:-]+Z", when)


def test_the_settings_are_in_step_with_the_lua() -> None:
    spec = importlib.util.spec_from_file_location("argocd", ROOT / "hack/argocd.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (FOLDER / "argocd-cm.yaml").read_text() == module.render(), "run `make crds`"
