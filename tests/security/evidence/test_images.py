"""Images that users name, against the chart's list, on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ...cluster.conftest import cluster, crds  # noqa: F401
from ...cluster.waiting import until

pytestmark = pytest.mark.cluster
CHART = Path(__file__).parents[3] / "charts/modelyard"
SPACE = "images"
LISTED = "registry.example.com/vision/*"
REFUSED = "is not among the images that this cluster allows"


@pytest.fixture(scope="module")
def api(crds: Any) -> Iterator[Any]:  # noqa: F811
    """The cluster with the policy in force, for a list of one pattern and one reference."""
    crds.kubectl("create", "namespace", SPACE)
    release = ("evidence", "--namespace", SPACE)
    crds.helm(
        *("install", release[0], str(CHART), *release[1:], "--set", "crds.enabled=false"),
        *("--set", "fullnameOverride=evidence"),
        *("--set", f"workloads.allowedImages={{{LISTED},other.example/trainer:2}}"),
    )
    until(
        lambda: REFUSED in crds.run("kubectl", *DRY, stdin=training("evil.example/x")).stderr,
        what="the policy to be in force",
        pause=0.5,
    )
    yield crds
    crds.helm("uninstall", *release)


DRY = ("create", "--dry-run=server", "-f", "-")


def training(image: str | None, name: str = "t") -> dict[str, Any]:
    spec = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "d"},
        "output": {"modelLine": "l"},
        **({"image": image} if image else {}),
    }
    return thing("TrainingJob", name, spec)


def deployment(image: str) -> dict[str, Any]:
    return thing("Deployment", "d", {"modelLine": "l", "server": {"image": image}})


def thing(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": SPACE}
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata}
    return body | {"spec": spec}


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.com/vision/trainer:1",
        "registry.example.com/vision/team/trainer@sha256:" + "0" * 64,
        "other.example/trainer:2",
        "modelyard/trainer:dev",
        "modelyard/trainer-gpu:dev",
        None,
    ],
)
def test_listed_images_and_the_charts_own_are_taken(api: Any, image: str | None) -> None:
    api.kubectl(*DRY, stdin=training(image))


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.com/other/trainer",
        "registry.example.com.evil.example/vision/trainer",
        "evil.example/registry.example.com/vision/trainer",
        "other.example/trainer:2@sha256:" + "0" * 64,
        "other.example/trainer",
        "modelyard/triton:dev",
        "Registry.example.com/vision/trainer",
    ],
)
def test_others_are_refused_and_the_list_is_named(api: Any, image: str) -> None:
    words = api.refused(*DRY, stdin=training(image))
    assert f"spec.image {image} {REFUSED} ({LISTED}, other.example/trainer:2" in words
    assert "workloads.allowedImages" in words


def test_servers_images_are_refused_likewise(api: Any) -> None:
    api.kubectl(*DRY, stdin=deployment("registry.example.com/vision/triton"))
    api.kubectl(*DRY, stdin=deployment("modelyard/triton:dev"))
    assert f"spec.server.image evil.example/x {REFUSED}" in api.refused(
        *DRY, stdin=deployment("evil.example/x")
    )
    assert REFUSED in api.refused(*DRY, stdin=deployment("modelyard/trainer:dev"))


def test_a_change_to_another_image_is_refused_and_any_other_change_is_not(api: Any) -> None:
    api.create(training("other.example/trainer:2", "changed"))
    patch = ("-n", SPACE, "patch", "tj", "changed", "--type=merge", "-p")
    words = api.refused(*patch, '{"spec": {"image": "evil.example/x"}}')
    assert REFUSED in words
    # The list becomes shorter: what is there can still be suspended.
    api.helm(
        *("upgrade", "evidence", str(CHART), "--namespace", SPACE, "--reuse-values"),
        *("--set", f"workloads.allowedImages={{{LISTED}}}"),
    )
    until(
        lambda: (
            REFUSED in api.run("kubectl", *DRY, stdin=training("other.example/trainer:2")).stderr
        ),
        what="the shorter list to be in force",
        pause=0.5,
    )
    api.kubectl(*patch, '{"spec": {"suspend": true}}')
