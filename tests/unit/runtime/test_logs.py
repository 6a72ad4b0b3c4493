"""Log lines that programs and people can read."""

from __future__ import annotations

import json
import logging

from modelyard.runtime.logs import JsonFormatter, LogfmtFormatter


def record(**fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {
            "name": "modelyard.x",
            "levelname": "INFO",
            "levelno": 20,
            "msg": "it's %s",
            "args": ("on",),
        }
    )
    vars(made).update(fields)
    return made


def test_json_has_the_fields() -> None:
    line = json.loads(JsonFormatter().format(record(kind="Dataset", wrote=["a", "b"])))
    assert line["message"] == "it's on"
    assert (line["kind"], line["wrote"], line["level"]) == ("Dataset", ["a", "b"], "info")


def test_logfmt_quotes_what_needs_it() -> None:
    line = LogfmtFormatter().format(record(kind="Dataset", text='a "b"\nc', empty=""))
    assert 'kind=Dataset text="a \\"b\\"\\nc" empty=""' in line
    assert "\n" not in line
