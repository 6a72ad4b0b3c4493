"""docs/operations.md knows every reason that an object can show."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from modelyard.api import kind_info
from modelyard.runtime.failures import REASONS

from ..kinds import RECONCILED

GUIDE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
TROUBLE = GUIDE[GUIDE.index("## Troubleshooting by reason") :]
TOLD = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", TROUBLE, re.MULTILINE))))
TYPES = {"Valid", "Available", "Progressing", "Exported", "Validated", "Trained"}
TYPES |= {"Drifting", "NotLikeHoldout", "Capturing"}


@pytest.mark.parametrize("kind", RECONCILED)
def test_reasons_of_a_kind(kind: str) -> None:
    module = import_module(f"{kind_info(kind).module}.reasons")
    words = {value for name, value in vars(module).items() if name.isupper()}
    reasons = {word for word in words - TYPES if word[0].isupper()}
    assert reasons
    assert reasons <= TOLD


def test_reasons_of_the_engine() -> None:
    assert REASONS <= TOLD
