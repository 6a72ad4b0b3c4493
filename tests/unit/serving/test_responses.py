"""The answer to a request of several images, as the pipeline's outputs."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.serving.models.responses import (
    Found,
    RequestError,
    check_count,
    failed,
    outputs,
)


def found(count: int, start: int = 0) -> Found:
    classes = np.arange(start, start + count)
    return Found(np.full((count, 4), start), np.linspace(0.9, 0.5, count), classes)


def test_boxes_say_which_image_they_are_in_and_images_why_there_are_none() -> None:
    made = outputs([found(2), failed("damaged"), found(0), found(1, 5)], ["cat", "dog"])

    assert made["image"].tolist() == [0, 0, 3]
    assert made["errors"].tolist() == ["", "damaged", "", ""]
    assert made["classes"].tolist() == [0, 1, 5]
    assert made["labels"].tolist() == ["cat", "dog", "5"]
    assert made["boxes"].shape == (3, 4)
    kinds = {name: one.dtype for name, one in made.items()}
    assert kinds == {
        "boxes": np.float32, "scores": np.float32, "classes": np.int32, "labels": object,
        "image": np.int32, "errors": object,
    }  # fmt: skip


def test_nothing_found_has_the_same_types() -> None:
    made = outputs([found(0)], [])
    assert [(one.shape, one.dtype) for one in made.values()] == [
        ((0, 4), np.float32), ((0,), np.float32), ((0,), np.int32), ((0,), object),
        ((0,), np.int32), ((1,), object),
    ]  # fmt: skip


@pytest.mark.parametrize("images", [0, 5])
def test_requests_of_too_many_images_or_none_are_refused(images: int) -> None:
    check_count(4, 4)
    with pytest.raises(RequestError, match=f"{images} images, and this server takes 1 to 4"):
        check_count(images, 4)
