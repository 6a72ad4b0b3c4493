"""The API server takes the examples as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("folder", ["digits", "pretrained", "rollouts", "serving"])
def test_examples_are_admitted(crds: Any, folder: str) -> None:
    files = sorted((ROOT / "examples" / folder).glob("*.yaml"))
    out = crds.kubectl("apply", "--dry-run=server", *[f"--filename={file}" for file in files])
    assert out.count("created (server dry run)") == len(files)


def test_argocds_settings_are_a_patch_of_its_configmap(crds: Any) -> None:
    patch = ROOT / "charts/modelyard/files/argocd/argocd-cm.yaml"
    crds.kubectl("create", "configmap", "argocd-cm", "--from-literal=mine=kept")
    try:
        crds.kubectl("patch", "configmap", "argocd-cm", f"--patch-file={patch}")
        data = crds.get("configmap", "default", "argocd-cm")["data"]
    finally:
        crds.kubectl("delete", "configmap", "argocd-cm")
    assert data["mine"] == "kept"
    assert "resource.customizations.actions.modelyard.dev_Deployment" in data
