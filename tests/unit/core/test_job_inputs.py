"""How a Job's pod gets at what it reads: credentials, claims, and what children are called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.contract import paths
from modelyard.contract.run import StoreLocation
from modelyard.core.naming import MAX_NAME, child_name
from modelyard.core.settings import Settings

from .world import World, obj


def pod_of(source: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """The pod template's spec of the Job that reads a Dataset's source."""
    world = World(obj("Dataset", "shelf", {"source": source}), settings=settings)
    world.settle("Dataset", "shelf")
    (job,) = world.of("Job")
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("valueFrom") for one in pod["containers"][0]["env"]}


def test_a_sources_credentials_stand_beside_the_stores() -> None:
    bucket = {"bucket": "shop", "key": "shelf.zip", "credentials": {"name": "shop-s3"}}
    env = environment(pod_of({"s3": bucket}))
    reference = {"name": "shop-s3", "key": "AWS_ACCESS_KEY_ID"}
    assert env["SOURCE_AWS_ACCESS_KEY_ID"] == {"secretKeyRef": reference}
    assert env["AWS_ACCESS_KEY_ID"] == {
        "secretKeyRef": reference | {"name": "modelyard-store-writer"}
    }


def test_a_claim_is_mounted_where_it_cannot_be_changed() -> None:
    pod = pod_of({"pvc": {"claimName": "photos", "path": "shelf"}})
    (volume,) = [v for v in pod["volumes"] if v["name"] == "source"]
    assert volume["persistentVolumeClaim"] == {"claimName": "photos", "readOnly": True}
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "source"]
    assert mount["readOnly"] is True


def test_a_directory_store_is_mounted_to_be_written() -> None:
    source = {"http": {"url": "https://data.example/shelf.zip"}}
    settings = Settings(store_claim="models", store_secret=None, image_pull_secrets=("registry",))
    pod = pod_of(source, settings)
    (volume,) = [v for v in pod["volumes"] if v["name"] == "store"]
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": False}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "AWS_ACCESS_KEY_ID" not in environment(pod)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("s3://models-{namespace}", "s3://models-shop"),
        ("s3://bucket/prefix", "s3://bucket/prefix/shop"),
        ("s3://bucket/prefix/", "s3://bucket/prefix/shop"),
        ("s3://bucket/{namespace}/models", "s3://bucket/shop/models"),
        ("gs://bucket", "gs://bucket/shop"),
        ("az://container", "az://container/shop"),
        ("file:///var/lib/modelyard/store", "file:///var/lib/modelyard/store/shop"),
    ],
)
def test_a_namespace_has_a_part_of_the_store(url: str, part: str) -> None:
    settings = Settings(store=StoreLocation(url=url, endpoint="http://store:7070"))
    assert settings.store_of("shop").url == part
    assert settings.store_of("shop").endpoint == "http://store:7070"
    assert settings.store_of("other").url != part


def test_pods_are_told_their_part_and_what_they_may_fetch_from() -> None:
    settings = Settings(
        store=StoreLocation(url="s3://models-{namespace}"),
        allowed_private_networks=("10.20.0.0/16",),
    )
    world = World(obj("Dataset", "shelf", {"source": {"s3": {"key": "a.zip"}}}), settings=settings)
    world.settle("Dataset", "shelf")
    (job,) = world.of("Job")
    run = json.loads(job["spec"]["template"]["metadata"]["annotations"][paths.RUN_ANNOTATION])
    assert run["store"]["url"] == "s3://models-shop"
    assert run["allowedPrivateNetworks"] == ["10.20.0.0/16"]


def test_a_shared_volume_is_mounted_as_far_as_the_part() -> None:
    source = {"http": {"url": "https://data.example/shelf.zip"}}
    store = StoreLocation(url="file:///var/lib/modelyard/store")
    pod = pod_of(source, Settings(store=store, store_claim="models", store_secret=None))
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "store"]
    assert mount["mountPath"] == "/var/lib/modelyard/store/shop"
    assert mount["subPath"] == "shop"


def test_long_and_dotted_names_are_cut_without_meeting() -> None:
    long = "shelf-" * 20
    first, second = child_name(long + "a", "data"), child_name(long + "b", "data")
    assert first != second
    assert max(len(first), len(second)) <= MAX_NAME
    assert child_name("a.b", "data") != child_name("a-b", "data")
    assert child_name("shelf", "data") == "shelf-data"
