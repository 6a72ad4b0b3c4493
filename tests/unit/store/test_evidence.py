"""Which digests of objects are asked for in the store."""

from __future__ import annotations

import json
from typing import Any

from modelyard.store.collector.evidence import evidence_of

NAMESPACE = {"metadata": {"name": "shop", "uid": "space"}}


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def pod(**status: Any) -> dict[str, Any]:
    run = {"assigned": {"digest": digest(1), "contentDigest": digest(2)}, "image": digest(3)}
    return {
        "kind": "Pod",
        "metadata": {"name": "shelf-0", "annotations": {"modelyard.dev/run": json.dumps(run)}},
        "status": status,
    }


def test_what_is_no_blob_is_not_asked_for_in_the_store() -> None:
    server = {
        "kind": "ModelServer",
        "metadata": {"name": "shelf-0"},
        "spec": {"assigned": {"digest": digest(4), "contentDigest": digest(5)}},
        "status": {"override": {"insteadOfContentDigest": digest(6)}},
    }
    status = {"imageID": digest(7), "image": f"registry/triton@{digest(8)}"}
    found = evidence_of(NAMESPACE, [server], [], [pod(containerStatuses=[status])])
    assert set(found.digests) == {digest(1), digest(4)}


def test_a_digest_that_is_a_blob_too_is_kept_wherever_else_it_stands() -> None:
    outcome = json.dumps({"image": digest(7), "weights": {"digest": digest(7)}})
    ended = {"state": {"terminated": {"message": outcome}}}
    found = evidence_of(NAMESPACE, [], [], [pod(containerStatuses=[ended])])
    assert digest(7) in found.digests
