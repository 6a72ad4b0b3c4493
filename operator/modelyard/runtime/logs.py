"""Structured logs on standard error: one JSON object or logfmt line per record."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

KOPF_REQUESTS = "kopf._cogs.clients.watching"
"""kopf's logger of watch requests, which logs each failed try; watches.py logs the first failure
and the recovery."""


class JsonFormatter(logging.Formatter):
    """Fields given as `extra` become fields of the JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        return orjson.dumps(_fields(self, record), default=str).decode()


class LogfmtFormatter(logging.Formatter):
    """`key=value` pairs, to be read in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as `key=value` pairs; a traceback follows on lines of its own."""
        fields = _fields(self, record)
        error = fields.pop("error", None)
        line = " ".join(f"{key}={_logfmt(value)}" for key, value in fields.items())
        return f"{line}\n{error}" if error else line


def configure(level: str, style: Literal["json", "logfmt"]) -> None:
    """Send all logs of the process to standard error; those of libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("modelyard").setLevel(level.upper())
    logging.getLogger(KOPF_REQUESTS).setLevel(logging.CRITICAL)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    fields |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
    if record.exc_info:
        fields["error"] = formatter.formatException(record.exc_info)
    return fields


def _logfmt(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    text = str(value)
    if not text or any(c in text for c in ' "=\n'):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return text
