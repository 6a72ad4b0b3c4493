"""The summary of a profile: bounded, and refused where it contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.contract import profile as contract
from modelyard.contract.profile import (
    CLASSES,
    FEATURES,
    LEVELS,
    MAX_BYTES,
    PROJECTIONS,
    Figure,
    ProfileSummary,
    parse_summary,
)
from modelyard.signals import embeddings

DIGEST = "sha256:" + "a" * 64
LONGEST = -1.23456e-300


def summary(number: float = 0.5, **changes: Any) -> ProfileSummary:
    """With every field, and numbers that take as many characters as `number`."""
    figure = {"count": 5000, "mean": number, "sd": abs(number), "quantiles": [number] * len(LEVELS)}
    fields = {
        "artifact": DIGEST,
        "dataset": DIGEST,
        "split": "val",
        "profile": DIGEST,
        "images": 5000,
        "blank": 0.0123457,
        "confidence": 0.25,
        "iou": 0.7,
        "figures": dict.fromkeys(Figure, figure),
        "classes": {
            "boxes": 1_500_000,
            "ids": list(range(99_990, 100_000)),
            "shares": [0.0123457] * CLASSES,
            "other": 0.876543,
        },
        "embedding": {
            "size": 768,
            "center": [number] * PROJECTIONS,
            "scale": [abs(number)] * PROJECTIONS,
            "radius": abs(number),
            "bandwidth": abs(number),
            "features": [number] * FEATURES,
        },
    }
    return ProfileSummary.model_validate(fields | changes)


def test_the_largest_summary_is_far_below_the_bound_and_survives_being_stored() -> None:
    largest = summary(LONGEST)
    assert len(largest.dump()) < MAX_BYTES / 4
    assert parse_summary(largest.dump()) == largest
    assert parse_summary(largest.dump()).dump() == largest.dump()


def test_fields_of_a_newer_release_are_ignored() -> None:
    assert parse_summary(summary().dump()[:-1] + b',"newField":1}') == summary()


def test_what_is_too_large_is_not_even_parsed() -> None:
    text = summary().dump()
    with pytest.raises(ValueError, match="more than 40000"):
        parse_summary(text[:-1] + b"," + b" " * MAX_BYTES + b'"x":1}')


def test_a_summary_without_boxes_or_an_embedding_is_one() -> None:
    classes = {"boxes": 0, "ids": [], "shares": [], "other": 0}
    bare = summary(embedding=None, classes=classes, figures={})
    assert parse_summary(bare.dump()).embedding is None


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"images": 0},
        {"blank": 1.5},
        {"artifact": "sha256:x"},
        {"classes": {"boxes": 1, "ids": [1, 2], "shares": [1.0], "other": 0}},
        {"classes": {"boxes": 1, "ids": [1, 1], "shares": [0.5, 0.5], "other": 0}},
        {"figures": {"temperature": {"count": 1, "mean": 0, "sd": 0, "quantiles": [0] * 17}}},
        {"figures": {"contrast": {"count": 1, "mean": 0, "sd": 0, "quantiles": [0]}}},
        {"figures": {"contrast": {"count": 1, "mean": "NaN", "sd": 0, "quantiles": [0] * 17}}},
        {"embedding": summary().embedding.model_dump() | {"scale": [0.0] * PROJECTIONS}},
        {"embedding": summary().embedding.model_dump() | {"center": [0.0]}},
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        summary(**changes)


def test_the_contract_and_the_code_agree_on_sizes() -> None:
    """The contract does without NumPy, so it cannot import them."""
    assert (contract.PROJECTIONS, contract.FEATURES) == (
        embeddings.PROJECTIONS,
        embeddings.FEATURES,
    )
