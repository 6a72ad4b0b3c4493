"""Settings from the environment, and clear words for wrong ones."""

from __future__ import annotations

import os

import pytest

from modelyard.core.settings import Settings
from modelyard.runtime.settings import InvalidSettings, load


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MODELYARD_") or name == "POD_NAME":
            monkeypatch.delenv(name)


def test_without_variables_decisions_see_the_defaults() -> None:
    assert load().for_decisions() == Settings()


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "IMAGES__WORKER": "w:1",
        "STORE__URL": "file:///store",
        "STORE_SECRET": "",
        "STORE_CLAIM": "claim",
        "NAMESPACES": "a, b",
        "RESOURCES__DATA__CPU": "3",
        "WORKERS": "4",
    }.items():
        monkeypatch.setenv(f"MODELYARD_{name}", value)
    settings = load()
    seen = settings.for_decisions()
    assert seen.images.worker == "w:1"
    assert seen.store.url == "file:///store"
    assert seen.store_secret is None
    assert seen.store_claim == "claim"
    assert seen.namespaces == ("a", "b")
    defaults = Settings().resources
    assert seen.resources == {**defaults, "data": {**defaults["data"], "cpu": "3"}}
    assert settings.workers == 4


def test_a_component_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_RESOURCES", '{"date": {"cpu": "3"}}')
    with pytest.raises(InvalidSettings, match="no component date: choose among data, training"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKERS", "0"), ("LEASE_SECONDS", "soon"), ("LOG_LEVEL", "loud"), ("STORE__URL", None)],
)
def test_wrong_values_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.setenv("MODELYARD_STORE", "no json")
        with pytest.raises(InvalidSettings, match="store"):
            load()
        return
    monkeypatch.setenv(f"MODELYARD_{name}", value)
    with pytest.raises(InvalidSettings, match=f"MODELYARD_{name}={value!r}"):
        load()


def test_replicas_differ_unless_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().replica() != load().replica()
    monkeypatch.setenv("POD_NAME", "operator-0")
    assert load().replica() == "operator-0"


async def test_prometheus_is_asked_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().prometheus() is None
    monkeypatch.setenv("MODELYARD_PROMETHEUS_URL", "")
    monkeypatch.setenv("MODELYARD_PROMETHEUS_TOKEN_FILE", "")
    assert load().prometheus() is None
    monkeypatch.setenv("MODELYARD_PROMETHEUS_URL", "http://prometheus.monitoring:9090")
    assert load().prometheus() is not None


@pytest.mark.parametrize("url", ["prometheus:9090", "file:///etc/passwd", "http://"])
def test_an_address_that_cannot_be_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_PROMETHEUS_URL", url)
    with pytest.raises(InvalidSettings, match="MODELYARD_PROMETHEUS_URL"):
        load()
