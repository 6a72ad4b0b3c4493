"""What every writer of a status shares: condition types, message length, time formats.

The operator, its engine and the agents write statuses of the same shape. Names and formats are
those of Kubernetes' API conventions (sig-architecture/api-conventions.md) and of kstatus. How the
operator builds conditions: core/conditions.py.
"""

from __future__ import annotations

from datetime import datetime

READY = "Ready"
RECONCILING = "Reconciling"
"""kstatus: present only while work is going on."""
STALLED = "Stalled"
"""kstatus: present only while the object makes no progress without a user's action."""

MAX_MESSAGE = 1024
"""Maximum characters of a message: objects must stay small, and Events accept no more."""


def truncate(text: str, limit: int = MAX_MESSAGE) -> str:
    """The text in at most `limit` characters; an ellipsis shows that something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def timestamp(moment: datetime) -> str:
    """A UTC moment as metav1.Time, which has whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime) -> str:
    """A UTC moment as metav1.MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> datetime:
    """The moment of a metav1.Time or MicroTime. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
