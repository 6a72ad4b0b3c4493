"""docs/operations.md knows every reason that an object can show."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from modelyard.core.dataset import reasons as dataset
from modelyard.core.deployment import reasons as deployment
from modelyard.core.modelversion import reasons as modelversion
from modelyard.core.trainingjob import reasons as trainingjob
from modelyard.runtime.failures import REASONS

GUIDE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
TROUBLE = GUIDE[GUIDE.index("## Troubleshooting by reason") :]
TOLD = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", TROUBLE, re.MULTILINE))))
TYPES = {"Valid", "Available", "Progressing", "Exported", "Validated", "Trained"}


@pytest.mark.parametrize("module", [dataset, deployment, modelversion, trainingjob])
def test_reasons_of_a_kind(module: ModuleType) -> None:
    words = {value for name, value in vars(module).items() if name.isupper()}
    reasons = {word for word in words - TYPES if word[0].isupper()}
    assert reasons
    assert reasons <= TOLD


def test_reasons_of_the_engine() -> None:
    assert REASONS <= TOLD
