"""CRDs are kept once: each way to install them gives the same objects."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import ALL_KINDS

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/modelyard"
LINK = CHART / "files/crds"
KIND = "CustomResourceDefinition"


def applied() -> dict[str, Any]:
    """What `kubectl apply -f crds/` sends, by name."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    return {one["metadata"]["name"]: one for one in found}


def less_release(crds: list[dict[str, Any]]) -> dict[str, Any]:
    """CRDs by name, without what a release marks its objects with."""
    for one in crds:
        assert one["metadata"].pop("labels")["app.kubernetes.io/component"] == "crds"
        one["metadata"].pop("annotations", None)
    return {one["metadata"]["name"]: one for one in crds}


def helm_says(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_chart_renders_the_files_that_kubectl_applies(render: Callable[..., Any]) -> None:
    assert set(applied()) == {info.crd_name for info in ALL_KINDS}
    assert less_release(render().of(KIND)) == applied()


def test_so_does_a_packaged_chart(helm: str, tmp_path: Path) -> None:
    packed = helm_says(helm, "package", str(CHART), "--destination", str(tmp_path))
    assert packed.returncode == 0, packed.stderr
    (archive,) = tmp_path.glob("*.tgz")
    done = helm_says(helm, "template", "modelyard", str(archive))
    found = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] == KIND]
    assert less_release(found) == applied()


def test_the_link_stays_within_the_repository() -> None:
    """Argo CD refuses a repository with a link that is absolute or leads out of it."""
    target = Path(os.readlink(LINK))
    assert not target.is_absolute()
    assert (LINK.parent / target).resolve() == ROOT / "crds"


def test_a_copy_without_links_is_refused(helm: str, tmp_path: Path) -> None:
    """Otherwise a release, as Flux makes it from a Git source, would silently have no CRDs."""
    copy = shutil.copytree(CHART, tmp_path / "modelyard", symlinks=True)
    (copy / "files/crds").unlink()
    refused = helm_says(helm, "template", "modelyard", str(copy))
    assert "files/crds leads nowhere" in refused.stderr
    without = helm_says(helm, "template", "modelyard", str(copy), "--set", "crds.enabled=false")
    assert without.returncode == 0, without.stderr


def test_crds_are_kept_or_left_out(render: Callable[..., Any]) -> None:
    kept = {"helm.sh/resource-policy": "keep"}
    assert all(one["metadata"]["annotations"] == kept for one in render().of(KIND))
    not_kept = render({"crds": {"keep": False}}).of(KIND)
    assert all("annotations" not in one["metadata"] for one in not_kept)
    assert render({"crds": {"enabled": False}}).of(KIND) == []


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda info: info.kind)
def test_no_text_is_taken_for_a_template(info: Any) -> None:
    """The template puts its metadata before the only line `spec:` at the margin."""
    text = (ROOT / "crds" / f"{info.crd_name}.yaml").read_text()
    assert text.count("\nspec:\n") == 1
