"""Which images an object may name for its pods.

A pod's image is code that runs with what the pod holds: a trainer's token, keys of the store. The
chart's value `workloads.allowedImages` lists what is allowed beside the chart's own images; an
admission policy (templates/admission/images.yaml) refuses the rest, in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable

ANY = "*"
"""At the end of a pattern: any image that begins so."""


def allowed(image: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern is the image's reference, or, before its `*`, how that begins."""
    return any(
        image.startswith(one.removesuffix(ANY)) if one.endswith(ANY) else image == one
        for one in patterns
    )


def refusal(field: str, image: str, patterns: Iterable[str]) -> str:
    """Why an image may not be used, and what to do."""
    listed = ", ".join(patterns)
    return (
        f"{field} {image} is not among the images that this cluster allows ({listed}): use one of "
        "those, or have an administrator add it to the chart's value workloads.allowedImages"
    )
