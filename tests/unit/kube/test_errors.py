"""Answers of the API server become the right types."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.kube import errors


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, {"reason": "AlreadyExists"}, errors.AlreadyExists),
        (409, {"reason": "Conflict"}, errors.Conflict),
        (404, {}, errors.NotFound),
        (410, {}, errors.Expired),
        (422, {}, errors.Invalid),
        (403, {}, errors.Forbidden),
        (401, None, errors.Unauthorized),
        (429, {}, errors.TooManyRequests),
        (500, "oops", errors.ServerError),
        (503, None, errors.ServerError),
        (418, None, errors.Invalid),
    ],
)
def test_type(status: int, body: Any, kind: type[errors.ApiError]) -> None:
    assert type(errors.from_response(status, body, {})) is kind


def test_details() -> None:
    body = {
        "message": "slow down",
        "details": {"retryAfterSeconds": 3, "causes": [{"reason": "NamespaceTerminating"}]},
    }
    error = errors.from_response(403, body, {})
    assert (error.message, error.retry_after) == ("slow down", 3.0)
    assert error.causes == ("NamespaceTerminating",)
    assert errors.from_response(429, {}, {"Retry-After": "7"}).retry_after == 7.0
    assert errors.from_response(503, None, {"Retry-After": "tomorrow"}).retry_after is None
