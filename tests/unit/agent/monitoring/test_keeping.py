"""The state of monitoring on disk: whatever happens to it, the agent starts and says so."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.monitoring import ServerDrift, ServerMonitoring
from modelyard.workloads.agent import memory
from modelyard.workloads.agent.monitoring.keeping import DAMAGED, FILE, FORMAT, Keeper, Kept

KEPT = Kept(
    monitoring=ServerMonitoring(drift=ServerDrift(sample="5s"), accepted="all@1"),
    accepted="all@1",
    since={"NoSource": 5.5},
    reported={"a": {"kind": "Drift", "since": "2027-01-15T08:00:00Z"}},
    state={"format": 1, "state": {"x": [1.5, None]}},
)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path, "ns", "cameras")


def test_what_is_written_is_read(keeper):
    keeper.write(KEPT)
    assert keeper.read() == KEPT


def test_without_a_file_nothing_is_remembered_and_nothing_lost(keeper):
    assert keeper.read() == Kept()


def test_another_deployments_state_is_not_taken_over(keeper, tmp_path):
    keeper.write(KEPT)
    assert Keeper(tmp_path, "ns", "others").read() == Kept()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        gzip.compress(b"junk"),
        gzip.compress(b"[]"),
        gzip.compress(b'{"format": 1}'),
        gzip.compress(json.dumps({"format": FORMAT + 1}).encode()),
        gzip.compress(b'{"format": 1, "owner": "ns/cameras", "monitoring": 5, "since": []}'),
    ],
    ids=["empty", "junk", "packed junk", "a list", "no state", "a later format", "other types"],
)
def test_a_file_that_cannot_be_used_is_put_aside_and_told(keeper, tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    assert keeper.read() == Kept(lost=True)
    assert (tmp_path / DAMAGED).read_bytes() == content
    assert not (tmp_path / FILE).exists()


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_is_taken_for_a_state(tmp_path_factory, place, change):
    """The checksum of gzip finds it, or what it changes is nothing that is read."""
    folder = tmp_path_factory.mktemp("kept")
    keeper = Keeper(folder, "ns", "cameras")
    keeper.write(KEPT)
    content = bytearray((folder / FILE).read_bytes())
    content[place % len(content)] ^= change
    (folder / FILE).write_bytes(content)

    assert keeper.read() in (KEPT, Kept(lost=True))


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(keeper, tmp_path, monkeypatch):
    monkeypatch.setattr("modelyard.workloads.agent.monitoring.keeping.MAX_BYTES", 1000)
    (tmp_path / FILE).write_bytes(gzip.compress(b"0" * 10_000))

    assert keeper.read().lost


@pytest.mark.parametrize("step", ["fdopen", "fsync", "replace"])
@pytest.mark.parametrize("before", [None, KEPT])
def test_a_death_at_any_step_of_a_write_leaves_the_old_state_or_the_new(
    keeper, tmp_path, monkeypatch, step, before
):
    """As if the process were killed there: nothing after it runs, not even the clean-up."""
    if before is not None:
        keeper.write(before)
    expected = keeper.read()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child dies

        def die(*_: object, **__: object) -> None:
            os._exit(9)

        monkeypatch.setattr(memory.os, step, die)
        keeper.write(Kept(accepted="new"))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9

    assert Keeper(tmp_path, "ns", "cameras").read() == expected
    keeper.write(Kept(accepted="later"))
    assert keeper.read().accepted == "later"


def test_a_state_of_a_newer_agents_wish_keeps_the_rest(keeper, tmp_path):
    keeper.write(KEPT)
    content = json.loads(gzip.decompress((tmp_path / FILE).read_bytes()))
    content["monitoring"]["drift"]["sample"] = "every now and then"
    (tmp_path / FILE).write_bytes(gzip.compress(json.dumps(content).encode()))

    found = keeper.read()

    assert found.monitoring is None
    assert found.state == KEPT.state


def test_a_state_of_several_megabytes_is_small_on_disk(keeper, tmp_path):
    rng = random.Random(1)
    keeper.write(Kept(state={"blocks": [round(rng.gauss(0, 1), 4) for _ in range(300_000)]}))

    assert (tmp_path / FILE).stat().st_size < 1_200_000
