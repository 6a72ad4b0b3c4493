"""An object is taken over only if it is ours already: by its controller, and seen by its watch."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core import meta
from modelyard.kube.kinds import by_name
from modelyard.runtime.children import check_owner
from modelyard.runtime.failures import NameTaken

JOB = by_name("Job")


def job(uid: str = "u", **changes: Any) -> dict[str, Any]:
    owner = {"metadata": {"name": "shelf", "namespace": "shop", "uid": uid}}
    own = meta.child_metadata(owner, "Dataset", child="shelf-data", component="data") | changes
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": own}


def test_our_own_is_ours() -> None:
    check_owner(job(), job(), JOB)


@pytest.mark.parametrize(
    ("live", "whose"),
    [
        (job("another"), r"Dataset shelf \(another\)"),
        (job(ownerReferences=[]), "somebody else"),
        (job(labels={}), r"Dataset shelf \(u\)"),
    ],
    ids=["another owner", "our labels alone", "our reference, but hidden from our watch"],
)
def test_what_only_seems_ours_is_not_taken(live: dict[str, Any], whose: str) -> None:
    with pytest.raises(NameTaken, match=f"Job shop/shelf-data exists and belongs to {whose}"):
        check_owner(job(), live, JOB)
