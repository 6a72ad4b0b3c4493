"""A second API version beside the first, by the steps of docs/api-versioning.md, in their order.

The CRDs come from our own generator. Operator and CLI are today's, which know `v1alpha1` only: so
this is the life of a cluster whose users go on to the next version before, or after, its tools do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.api.base import VERSION
from modelyard.api.crd import CrdVersion, render
from modelyard.api.kinds import kind_info
from modelyard_local.cluster import ControlPlane

from ..admin import APPLY
from ..waiting import until
from .site import CRDS, Site

pytestmark = pytest.mark.cluster

OLD, NEW = VERSION, "v1beta1"
SOURCE = {"source": {"http": {"url": "https://data.example/shelf.zip"}}}
DEPRECATED = f"modelyard.dev/{OLD} is deprecated: use {NEW}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("versions")
    with ControlPlane(folder / "plane") as plane:
        yield Site(plane.kubeconfig, folder)


def same_in_both(site: Site, kind: str, name: str) -> dict[str, Any]:
    """An object, which must be the same in both versions but for its apiVersion."""
    old, new = site.get(OLD, kind, name), site.get(NEW, kind, name)
    assert old.pop("apiVersion") == f"modelyard.dev/{OLD}"
    assert new.pop("apiVersion") == f"modelyard.dev/{NEW}"
    for one in (old, new):
        del one["metadata"]["managedFields"]  # each entry names the version it was written in
    assert old == new
    found: dict[str, Any] = old
    return found


def reconciled(site: Site, version: str, *names: str) -> bool:
    """Whether the operator has written the status of these Datasets."""
    return all(site.status(version, "Dataset", name).get("observedGeneration") for name in names)


def test_1_both_versions_are_served_and_the_old_one_is_stored(site: Site) -> None:
    site.serve(CrdVersion(OLD, storage=True))
    site.create(OLD, "Dataset", "first", SOURCE)
    site.serve(CrdVersion(OLD, storage=True), CrdVersion(NEW))
    site.create(NEW, "Dataset", "second", SOURCE)
    site.create(NEW, "Deployment", "cameras", {"modelLine": "shelf"})
    with site.operator():
        until(lambda: reconciled(site, NEW, "first", "second"), what="statuses in both versions")
    for name in ("first", "second"):
        assert same_in_both(site, "Dataset", name)["status"]["conditions"]
    defaults = same_in_both(site, "Deployment", "cameras")["spec"]["target"]
    assert defaults["cluster"]["replicas"] == 1
    told = site.modelyard("status")
    assert "Dataset first" in told
    assert "Dataset second" in told
    assert site.stored_versions("Dataset") == [OLD]


def test_2_the_new_version_is_stored_and_nobody_notices(site: Site) -> None:
    site.serve(CrdVersion(OLD, deprecation=DEPRECATED), CrdVersion(NEW, storage=True))
    site.create(NEW, "Dataset", "third", SOURCE)
    site.create(OLD, "Dataset", "fourth", SOURCE)
    with site.operator() as operator:
        until(lambda: reconciled(site, NEW, "third", "fourth"), what="statuses of new objects")
        until(operator.idle, what="the operator to be idle")
    for name in ("first", "second", "third", "fourth"):
        same_in_both(site, "Dataset", name)
    assert set(site.stored_versions("Dataset")) == {OLD, NEW}
    with site.operator() as operator:
        assert operator.wrote() == 0, "a version is no reason to write anything"
    warned = site.admin.http.get(site.path(OLD, "Dataset")).headers["Warning"]
    assert DEPRECATED in warned
    assert "Warning" not in site.admin.http.get(site.path(NEW, "Dataset")).headers


def test_3_after_the_migration_nothing_is_stored_in_the_old_version(site: Site) -> None:
    before = {n: same_in_both(site, "Dataset", n) for n in ("first", "second", "third", "fourth")}
    site.migrate(NEW)
    assert site.stored_versions("Dataset") == [NEW]
    for name, one in before.items():
        after = same_in_both(site, "Dataset", name)
        assert (after["spec"], after["status"]) == (one["spec"], one["status"])
        assert after["metadata"]["generation"] == one["metadata"]["generation"]
    with site.operator() as operator:
        assert operator.wrote() == 0


def test_4_the_old_version_is_no_longer_served(site: Site) -> None:
    site.serve(CrdVersion(OLD, served=False), CrdVersion(NEW, storage=True))
    assert site.get(OLD, "Dataset", "first") is None
    assert site.get(NEW, "Dataset", "first")["status"]["conditions"]
    # Going back is possible as long as the version is in the CRD.
    site.serve(CrdVersion(OLD), CrdVersion(NEW, storage=True))
    same_in_both(site, "Dataset", "first")


def test_5_the_old_version_can_be_removed(site: Site) -> None:
    site.serve(CrdVersion(NEW, storage=True))
    assert site.get(NEW, "Dataset", "first")["status"]["conditions"]


def test_a_field_of_one_version_only_would_be_lost(site: Site) -> None:
    """Why all versions have one schema: `None` conversion cannot carry what another one lacks."""
    site.serve(CrdVersion(OLD), CrdVersion(NEW, storage=True))
    info = kind_info("Dataset")
    crd = copy.deepcopy(render(info, (CrdVersion(OLD), CrdVersion(NEW, storage=True))))
    new = crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    new["properties"]["onlyInNew"] = {"type": "string"}
    path = f"{CRDS}/{info.crd_name}?fieldManager=test&force=true"
    site.admin.call("PATCH", path, crd, **APPLY)

    def carried(name: str) -> bool:
        site.create(NEW, "Dataset", name, {**SOURCE, "onlyInNew": "kept"})
        return "onlyInNew" in site.get(NEW, "Dataset", name)["spec"]

    numbers = iter(range(1000))
    until(lambda: carried(f"new-{next(numbers)}"), what="the new field to be in force", pause=0.2)
    name = f"new-{next(numbers) - 1}"
    old = site.get(OLD, "Dataset", name)
    assert "onlyInNew" not in old["spec"]
    # A client of the old version reads, changes something else, and writes all of it back.
    old["metadata"]["labels"] = {"team": "shop"}
    site.admin.call("PUT", site.path(OLD, "Dataset", name), old)
    assert "onlyInNew" not in site.get(NEW, "Dataset", name)["spec"]
