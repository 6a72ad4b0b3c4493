"""The examples are objects of our kinds, and show what they say they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import kind_info
from modelyard.api.deployment import DeploymentSpec

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "examples").rglob("*.yaml"))
GUIDE = ROOT / "docs/rollouts.md"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_an_example_is_valid(file: Path) -> None:
    documents: list[Any] = list(yaml.safe_load_all(file.read_text()))
    assert documents
    for one in documents:
        assert one["apiVersion"] == "modelyard.dev/v1alpha1"
        kind_info(one["kind"]).spec.model_validate(one["spec"])


@pytest.mark.parametrize("name", ["edge-fleet", "canary", "shadow"])
def test_the_guide_names_each_rollout(name: str) -> None:
    assert f"examples/rollouts/{name}.yaml" in GUIDE.read_text()


def test_the_guides_own_yaml_is_valid() -> None:
    blocks = GUIDE.read_text().split("```yaml\n")[1:]
    specs = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    for one in specs:
        DeploymentSpec.model_validate({"modelLine": "shelf", **one["spec"]})
    assert specs
