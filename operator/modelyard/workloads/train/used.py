"""Whether Ultralytics uses all images that the Dataset check has accepted.

Its datasets leave out what they do not like with a line in the log. A figure is of all images, or
there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.workloads.errors import UserError

SHOWN = 5
"""File names in a message."""


def part(images: int, fraction: float) -> int:
    """How many of a split's images the hyperparameter `fraction` keeps: a share, or, as a whole
    number above 1, a count (ultralytics/data/base.py: BaseDataset.get_img_files)."""
    count = fraction if isinstance(fraction, int) else max(1, round(images * fraction))
    return min(images, count)


def require_all(split: str, dataset: Any, images: Mapping[str, int]) -> None:
    """Raises UserError unless Ultralytics' `dataset` has all images of a split, of which `images`
    says how many there are, or the fraction of them that is asked for."""
    wanted = part(images[split], getattr(dataset, "fraction", 1.0))
    if len(dataset.im_files) == wanted:
        return
    kept = set(dataset.im_files)
    found = dataset.get_img_files(dataset.img_path)
    left_out = [Path(one).name for one in found if one not in kept]
    names = ", ".join(left_out[:SHOWN]) + (", …" if len(left_out) > SHOWN else "")
    raise UserError(
        "ImagesLeftOut",
        f"Ultralytics uses {len(kept)} of the {wanted} images of split {split} that the Dataset's "
        f"check has accepted, and not {names or 'the others'}: correct or remove these files and "
        "their labels",
    )


def require_seen(seen: int | None, split: str, images: int) -> None:
    """Raises UserError unless a validation has seen all images of a split."""
    if seen != images:
        raise UserError(
            "ImagesLeftOut",
            f"the evaluation used {seen or 0} of the {images} images of split {split}: correct or "
            "remove the files that it left out, which the pod's log names",
        )
