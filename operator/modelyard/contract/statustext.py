"""What every writer of a status shares: condition types, message length, time formats.

The operator, its engine and the agents write statuses of the same shape. Names and formats are
those of Kubernetes' API conventions (sig-architecture/api-conventions.md) and of kstatus. How the
operator builds conditions: core/conditions.py.
"""

from __future__ import annotations

import re
from datetime import datetime

READY = "Ready"
RECONCILING = "Reconciling"
"""kstatus: present only while work is going on."""
STALLED = "Stalled"
"""kstatus: present only while the object makes no progress without a user's action."""

MAX_MESSAGE = 1024
"""Maximum characters of a message: objects must stay small, and Events accept no more."""


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and those that change the direction of writing: in a
terminal they could rewrite what is around them."""


def printable(text: str) -> str:
    """The text as the API server and a terminal can take it, whatever file name or foreign answer
    it holds: bytes that are no UTF-8 (lone surrogates) and control characters are escaped."""
    if text.isprintable():
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    decoded = data.decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], decoded)


def truncate(text: str, limit: int = MAX_MESSAGE) -> str:
    """The text, printable, in at most `limit` characters; an ellipsis shows that something is
    missing."""
    # What is cut off need not be made printable; an escape takes more than one character.
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def truncate_middle(text: str, limit: int) -> str:
    """The same for a path: its beginning and its end stay, where the file's name is."""
    if len(text) > limit:
        tail = (limit - 1) * 2 // 3
        text = f"{text[: limit - 1 - tail]}…{text[-tail:]}"
    return printable(text)


def timestamp(moment: datetime) -> str:
    """A UTC moment as metav1.Time, which has whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime) -> str:
    """A UTC moment as metav1.MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> datetime:
    """The moment of a metav1.Time or MicroTime. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
