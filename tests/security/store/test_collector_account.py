"""The collector with the key that the chart gives it, on the embedded store."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import pytest

from modelyard.contract.paths import COLLECTOR_STATE, SWEEPS, blob_key
from modelyard.store import AccessDenied
from modelyard.store.collector import Evidence, Policy, collect

from .conftest import SYSTEM

OWNER = Evidence(owner="uid-of-b")


def test_the_collector_needs_no_more_than_its_own_key(embedded: Any) -> None:
    jobs = embedded.store("b", embedded.key("b", "writer"))
    collector = embedded.store("b", embedded.key(SYSTEM, "collector"))
    jobs.delete_pointer(COLLECTOR_STATE)
    waste = jobs.put_bytes(uuid.uuid4().bytes)
    then = time.time() - 30 * 86_400
    (stored,) = [one for one in embedded.folder.rglob(blob_key(waste)) if one.is_file()]
    os.utime(stored, (then, then))

    report = collect(collector, lambda: OWNER, Policy())
    assert report.problem == ""
    state = collector.get_pointer(COLLECTOR_STATE)
    assert state is not None
    old = {**state, "unneeded": dict.fromkeys(state["unneeded"], "2026-01-01T00:00:00Z")}
    collector.put_pointer(COLLECTOR_STATE, old)
    report = collect(collector, lambda: OWNER, Policy(delete=True))
    assert report.deleted >= 1
    assert not jobs.exists(waste)
    assert list(jobs.keys.entries(SWEEPS)) == []
    # A publisher may see fences, which its puts wait for.
    assert jobs.intact(jobs.put_bytes(b"published after it"))


def test_agents_cannot_read_what_the_collector_remembers(embedded: Any) -> None:
    agent = embedded.store("b", embedded.key("b", "reader"))
    with pytest.raises(AccessDenied):
        agent.get_pointer(COLLECTOR_STATE)
