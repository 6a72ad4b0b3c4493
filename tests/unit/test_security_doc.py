"""docs/security.md names tests that exist: an attack that nobody tries any more is no row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?", TEXT)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: part or "file")
def test_each_named_test_exists(file: str, test: str) -> None:
    path = ROOT / file
    assert path.exists(), f"docs/security.md names {file}"
    assert f"def {test}" in path.read_text(), f"docs/security.md names {test} in {file}"


def test_every_attack_has_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.count(" | ") == 3 and "---" not in line]
    attacks = [row for row in rows if not row.startswith("| who | can do what")]
    assert len(attacks) > 20
    assert [row for row in attacks if "`tests/" not in row.rsplit(" | ", 1)[1]] == []
