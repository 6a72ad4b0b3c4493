"""What counts as a difference between what was applied and what lives."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.kube.apply import HASH, differences, with_hash

CONTAINER = {"name": "main", "image": "a:1", "resources": {"limits": {"cpu": "1000m"}}}


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="fields of others"),
        pytest.param({"cpu": "1000m"}, {"cpu": "1"}, id="quantity normalised"),
        pytest.param({"memory": "1024Mi"}, {"memory": "1Gi"}, id="binary quantity"),
        pytest.param({"cpu": 2}, {"cpu": "2"}, id="quantity as number"),
        pytest.param({"a": {}, "b": [], "c": None}, {}, id="empty is absent"),
        pytest.param({"suspend": False, "x": ""}, {}, id="zero values are absent"),
        pytest.param(
            {"c": [CONTAINER]},
            {"c": [{"name": "sidecar"}, {**CONTAINER, "added": True}]},
            id="an injected container",
        ),
        pytest.param({"c": [CONTAINER]}, {"c": [{**CONTAINER, "image": "a:1"}]}, id="equal"),
    ],
)
def test_no_difference(wanted: Any, live: Any) -> None:
    assert differences(wanted, live) == []


@pytest.mark.parametrize(
    ("wanted", "live", "path"),
    [
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b", id="value"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, "a.b", id="missing"),
        pytest.param({"cpu": "1"}, {"cpu": "2"}, "cpu", id="quantity"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, "a", id="list length"),
        pytest.param({"a": ["x"]}, {"a": ["y"]}, "a[0]", id="list item"),
        pytest.param({"c": [CONTAINER]}, {"c": [{"name": "other"}]}, "c[0]", id="container gone"),
        pytest.param({"on": True}, {}, "on", id="true is not absent"),
        pytest.param({"on": True}, {"on": False}, "on", id="bool"),
        pytest.param({"n": "nan"}, {"n": "x"}, "n", id="text"),
    ],
)
def test_difference(wanted: Any, live: Any, path: str) -> None:
    assert differences(wanted, live) == [path]


def test_hash_depends_on_content_not_on_order() -> None:
    one = {"metadata": {"name": "x", "labels": {"a": "1", "b": "2"}}, "spec": {"p": 1, "q": 2}}
    two = {"spec": {"q": 2, "p": 1}, "metadata": {"labels": {"b": "2", "a": "1"}, "name": "x"}}
    three = {**one, "spec": {"p": 1}}
    digests = [with_hash(m)["metadata"]["annotations"][HASH] for m in (one, two, three)]
    assert digests[0] == digests[1] != digests[2]
    assert "annotations" not in one["metadata"], "the manifest itself must not change"
