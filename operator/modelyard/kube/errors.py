"""Errors of the API server, as types.

Named after the reasons of metav1.Status, see
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind
runtime/failures.py decides what each means for a reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API server rejected a request, or could not be reached."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """HTTP status; 0 without a response."""
        self.reason = reason
        """`reason` of metav1.Status, such as AlreadyExists."""
        self.retry_after = retry_after
        """Seconds to wait before a retry, as the server requests."""
        self.causes = causes
        """Reasons of the details, such as NamespaceTerminating."""


class Unreachable(ApiError):
    """No response: connection refused or lost, or a timeout. The write may have happened."""


class ServerError(ApiError):
    """The API server failed (5xx). The write may have happened."""


class TooManyRequests(ApiError):
    """The API server limits the request rate (429)."""


class Unauthorized(ApiError):
    """The credentials are not accepted, even after they were read again (401)."""


class Forbidden(ApiError):
    """Not allowed: RBAC, a quota, an admission policy, or a terminating namespace (403)."""


class NotFound(ApiError):
    """No such object or kind (404)."""


class AlreadyExists(ApiError):
    """An object of the same name exists already (409)."""


class Conflict(ApiError):
    """A precondition failed: the object has another resourceVersion or UID (409)."""


class Invalid(ApiError):
    """Rejected by the object's schema or by an admission policy (400, 413, 422)."""


class Expired(ApiError):
    """A list's continue token or a watch's resourceVersion is too old (410)."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: Invalid,
    422: Invalid,
    429: TooManyRequests,
}


def from_response(status: int, body: Any, headers: Mapping[str, str]) -> ApiError:
    """The error for a response with an HTTP status of 400 or more.

    `body` is the decoded metav1.Status, or any other value if the response has none.
    """
    info: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    details = info.get("details") or {}
    reason = info.get("reason") or ""
    if status == 409 and reason == "AlreadyExists":
        kind: type[ApiError] = AlreadyExists
    elif status >= 500:
        kind = ServerError
    else:
        kind = _BY_STATUS.get(status, Invalid)
    return kind(
        info.get("message") or f"HTTP status {status}",
        status=status,
        reason=reason,
        retry_after=_seconds(headers.get("Retry-After") or details.get("retryAfterSeconds")),
        causes=tuple(c.get("reason", "") for c in details.get("causes") or ()),
    )


def _seconds(value: Any) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None  # An HTTP date: kube-apiserver does not send these.
