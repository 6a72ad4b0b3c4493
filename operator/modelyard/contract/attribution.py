"""Who requested a change: annotations that admission policies set, and how users are shown.

The chart's MutatingAdmissionPolicy writes these annotations from the authenticated user of a
request, and puts them back where a request changes them. A cluster without it has none.
"""

from __future__ import annotations

CHANGED_BY = "modelyard.dev/changed-by"
"""Annotation with the user who last changed the spec."""
MAX_NAME = 128
"""Maximum length of a user's name."""

_ACCOUNT = "system:serviceaccount:"


def asked_by(action: str) -> str:
    """The annotation with the user who set an action's annotation to its current value."""
    return f"modelyard.dev/{action}-by"


def readable(user: str | None) -> str:
    """A user's name as shown in messages; empty for none."""
    if not user:
        return ""
    if user.startswith(_ACCOUNT):
        return f"service account {user.removeprefix(_ACCOUNT).replace(':', '/')}"
    return user


def by(user: str | None, before: str = ", by ") -> str:
    """`, by NAME` to append to a message; empty for none."""
    return f"{before}{readable(user)}" if user else ""
