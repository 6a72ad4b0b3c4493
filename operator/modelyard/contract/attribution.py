"""Who asked for something: annotations that the API server stamps, and how people are shown.

The chart's MutatingAdmissionPolicy writes these annotations from the authenticated user of a
request, and puts them back where a request changes them. A cluster without it has none.
"""

from __future__ import annotations

CHANGED_BY = "modelyard.dev/changed-by"
"""Who changed the spec last."""
MAX_NAME = 128
"""Characters of a user's name that are kept."""

_ACCOUNT = "system:serviceaccount:"


def asked_by(action: str) -> str:
    """The annotation that says who set an action's annotation to its present value."""
    return f"modelyard.dev/{action}-by"


def readable(user: str | None) -> str:
    """A user's name for people; empty for none."""
    if not user:
        return ""
    if user.startswith(_ACCOUNT):
        return f"service account {user.removeprefix(_ACCOUNT).replace(':', '/')}"
    return user


def by(user: str | None, before: str = ", by ") -> str:
    """`, by NAME` to end a text with; empty for none."""
    return f"{before}{readable(user)}" if user else ""
