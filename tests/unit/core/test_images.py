"""The decision's reading of the chart's list is admission's: the same table as there."""

from __future__ import annotations

import pytest

from modelyard.core.images import allowed

LISTED = ("registry.example.com/vision/*", "other.example/trainer:2")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.example.com/vision/trainer:1", True),
        ("other.example/trainer:2", True),
        ("registry.example.com/other/trainer", False),
        ("registry.example.com.evil.example/vision/trainer", False),
        ("evil.example/registry.example.com/vision/trainer", False),
        ("other.example/trainer:2@sha256:00", False),
        ("other.example/trainer", False),
    ],
)
def test_a_pattern_is_a_reference_or_how_it_begins(image: str, expected: bool) -> None:
    assert allowed(image, LISTED) is expected


def test_nothing_is_allowed_by_an_empty_list_and_all_by_a_star() -> None:
    assert not allowed("a/b", ())
    assert allowed("a/b", ("*",))
