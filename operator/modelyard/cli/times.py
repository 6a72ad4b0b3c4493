"""Parses and formats times and durations for the command line."""

from __future__ import annotations

from datetime import datetime, tzinfo

from modelyard.cli.errors import USAGE, CliError
from modelyard.contract.statustext import parse_timestamp


def moment(text: object) -> datetime | None:
    """Parses an API timestamp; None if it is empty."""
    return parse_timestamp(str(text)) if text else None


def span(seconds: float) -> str:
    """A duration in at most two units: 42s, 3m20s, 2h05m, 3d4h."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02}m"
    if minutes:
        return f"{minutes}m{rest:02}s" if rest else f"{minutes}m"
    return f"{rest}s"


def between(start: object, end: object) -> str:
    """The time between two API timestamps; empty if one is missing."""
    first, last = moment(start), moment(end)
    return span((last - first).total_seconds()) if first and last else ""


def ago(text: object, now: datetime) -> str:
    """Time since an API timestamp, such as `3m20s ago`; empty if there is none."""
    then = moment(text)
    return f"{span((now - then).total_seconds())} ago" if then else ""


def local(when: datetime, zone: tzinfo | None = None) -> str:
    """A time in a time zone, by default this machine's: 2026-11-17 10:00:00 CET."""
    return when.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def parse_user_time(text: str, zone: tzinfo | None = None) -> datetime:
    """Parses a user's time: a date, or date and time; without an offset it is in `zone`, by default
    this machine's. Raises CliError."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CliError(
            f"{text!r} is not a time: write 2026-11-17T10:00, with an offset (+01:00 or Z) if it "
            "is not in this machine's time zone",
            USAGE,
        ) from error
    if when.tzinfo is not None:
        return when
    return when.astimezone() if zone is None else when.replace(tzinfo=zone)
