"""What is generated from the models is in step with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import ALL_KINDS, KindInfo, chart
from modelyard.api.crd import render
from modelyard.api.kinds import default_resources
from modelyard.api.reference import reference

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda i: i.kind)
def test_crds_are_in_step_with_the_models(info: KindInfo) -> None:
    found = yaml.safe_load((ROOT / "crds" / f"{info.crd_name}.yaml").read_text())
    assert found == render(info), "run `make crds`"


def test_the_reference_is_in_step_with_the_models() -> None:
    assert (ROOT / "docs/reference.md").read_text() == reference(), "run `make crds`"


def test_the_charts_facts_are_in_step_with_the_models() -> None:
    found = (ROOT / "charts/modelyard/files/kinds.yaml").read_text()
    assert found == chart.render(), "run `make crds`"


def test_the_charts_default_resources_are_in_step_with_the_models() -> None:
    values = yaml.safe_load((ROOT / "charts/modelyard/values.yaml").read_text())
    assert values["workloads"]["resources"] == default_resources(), "run `make crds`"


@pytest.mark.parametrize("info", ALL_KINDS, ids=lambda i: i.kind)
def test_every_field_is_described(info: KindInfo) -> None:
    schema = render(info)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def undescribed(node: dict[str, Any], path: str) -> list[str]:
        missing = []
        for name, child in node.get("properties", {}).items():
            own = f"{path}.{name}"
            if not child.get("description"):
                missing.append(own)
            missing += undescribed(child.get("items", child), own)
        return missing

    assert undescribed(schema["properties"]["spec"], "spec") == []
