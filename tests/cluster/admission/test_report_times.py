"""The API server notes when a ModelServer's status was written, by its own clock: what the operator
goes by after a start, since the clocks of edge devices may be wrong."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.core.conditions import parse_timestamp
from modelyard.core.fleet.projections import status_written

pytestmark = pytest.mark.cluster
NS = "work"


def written(api: Any, name: str) -> str:
    text = api.kubectl("get", "ms", name, "-n", NS, "-o", "json", "--show-managed-fields")
    return status_written(json.loads(text)["metadata"])


def test_each_report_is_noted_and_nothing_else(api: Any, valid: Any) -> None:
    api.create(valid("ModelServer", "reporter", {}))
    assert written(api, "reporter") == ""
    api.set_status("ModelServer", NS, "reporter", {"reportedAt": "2001-01-01T00:00:00Z"})
    first = written(api, "reporter")
    assert abs(parse_timestamp(first) - datetime.now(UTC)) < timedelta(minutes=1)
    time.sleep(1.1)  # Notes are in whole seconds.
    patch = json.dumps({"spec": {"reportSeconds": 20}})
    api.kubectl("patch", "ms", "reporter", "-n", NS, "--type=merge", "-p", patch)
    assert written(api, "reporter") == first
    # An agent's clock that stands still, or goes back, is a report all the same.
    api.set_status("ModelServer", NS, "reporter", {"reportedAt": "2000-01-01T00:00:00Z"})
    second = written(api, "reporter")
    assert second > first
    time.sleep(1.1)
    api.set_status("ModelServer", NS, "reporter", {"figures": {"version": 1, "seconds": 60}})
    assert written(api, "reporter") > second
