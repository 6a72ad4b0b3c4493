"""CRDs that are upgraded while the operator, which knows only the old ones, runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .chain import CHAIN, KINDS, READY

pytestmark = pytest.mark.cluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIELD = "fieldOfTheNextRelease"


def add_field(schema: Any) -> None:
    """Add an optional field with a default to an object's schema and to those in it."""
    for inner in (schema.get("properties") or {}).values():
        add_field(inner)
    if "properties" in schema:
        schema["properties"][FIELD] = {"type": "string", "default": "new"}


def spec_of(crd: Any) -> Any:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def replace(server: Any, crd: Any) -> None:
    """Write a CRD's spec, whatever its status has become meanwhile."""
    name = crd["metadata"]["name"]
    now = server.get(f"{CRDS}/{name}")
    server.call("PUT", f"{CRDS}/{name}", {**now, "spec": crd["spec"]})


@pytest.fixture
def upgraded(server: Any) -> Iterator[Any]:
    """Upgrades all our CRDs when called; puts the old ones back at the end."""
    names = [f"{plural}.modelyard.dev" for plural in CHAIN]
    old = [server.get(f"{CRDS}/{name}") for name in names]

    def upgrade() -> None:
        for name in names:
            crd = server.get(f"{CRDS}/{name}")
            add_field(spec_of(crd))
            replace(server, crd)

    yield upgrade
    for crd in old:
        replace(server, crd)


def test_a_new_field_is_let_be(
    server: Any, space: str, start: Any, wait: Any, upgraded: Any
) -> None:
    group = f"/apis/modelyard.dev/v1alpha1/namespaces/{space}"

    def create(plural: str, name: str) -> None:
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": KINDS[plural],
            "metadata": {"name": name},
            "spec": CHAIN[plural],
        }
        server.call("POST", f"{group}/{plural}", body)

    def jobs() -> int:
        return len(server.get(f"/apis/batch/v1/namespaces/{space}/jobs")["items"])

    for plural in CHAIN:
        create(plural, "shelf-1")
    server.merge(f"{group}/modelversions/shelf-1/status", {"status": READY})
    operator = start("old", "-m", "modelyard.handlers")
    workloads = f"/apis/apps/v1/namespaces/{space}/deployments"
    wait(lambda: server.get(workloads)["items"] and jobs(), 60, what="children")
    wait(operator.idle, what="idle")
    wrote = operator.wrote()

    upgraded()
    everywhere = {plural: f"{group}/{plural}/shelf-1" for plural in CHAIN}
    for path in everywhere.values():
        wait(lambda path=path: FIELD in server.get(path)["spec"], what="the new field shows")
        # A write stores the default, and brings it to the operator's watch.
        server.merge(path, {"metadata": {"labels": {"touched": "yes"}}})
    server.merge(everywhere["datasets"], {"spec": {"source": {"http": {FIELD: "set by hand"}}}})
    resyncs = operator.metric("modelyard_resyncs_total")
    operator.resync()
    wait(
        lambda: operator.metric("modelyard_resyncs_total") > resyncs and operator.idle(),
        what="a resync",
    )
    assert operator.metric("modelyard_stalled_objects") == 0, operator.log.read_text()
    assert operator.metric("modelyard_retrying_objects") == 0
    source = server.get(everywhere["datasets"])["spec"]["source"]["http"]
    assert source[FIELD] == "set by hand"
    assert operator.wrote() == wrote + 1, "the Dataset's observedGeneration, and nothing else"

    upgraded()  # The same again: nothing changes.
    before = jobs()
    create("datasets", "made-later")
    wait(lambda: jobs() == before + 1, what="new objects are taken care of")
    assert operator.process.poll() is None
    assert "Traceback" not in operator.log.read_text()
    for path in (*everywhere.values(), f"{group}/datasets/made-later"):
        server.call("DELETE", path)
