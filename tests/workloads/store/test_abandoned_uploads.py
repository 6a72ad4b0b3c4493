"""Uploads whose sender was killed: they take space until the collector ends them.

Real: the store, and a sender that is killed with SIGKILL. Played: time, as the collector sees it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from modelyard.store import StoreError
from modelyard.store.collector import Report
from modelyard.store.keys import CHUNK
from modelyard.store.opening import Credentials
from modelyard.store.unfinished import open_uploads

from .part import DAY, Part

Make = Callable[[], Part]

KEY = "blobs/sha256/ab/abandoned"
SENDER = """
import sys, time
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.store.keys import CHUNK

def pieces():
    for _ in range(8):
        yield b"x" * CHUNK
    print("sent", flush=True)
    time.sleep(600)

location = StoreLocation.model_validate_json(sys.argv[1])
Store.open(location).keys.put(sys.argv[2], pieces())
"""


def kill_a_sender(part: Part, key: str = KEY) -> None:
    """Some pieces of an upload have arrived; nobody will send the rest."""
    command = [sys.executable, "-c", SENDER, part.location.model_dump_json(), key]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        assert sender.stdout.readline() == b"sent\n"
        sender.kill()


def used(part: Part) -> int:
    """Bytes on the store's disk, in its bucket and beside."""
    files = Path((part.location.endpoint and part.folder.parent) or part.folder).rglob("*")
    return sum(one.lstat().st_size for one in files if one.is_file())


def later(part: Part, passed: timedelta, *, delete: bool = True) -> Report:
    """A run of the collector, some time from now."""
    return part.collect(ago=-passed, delete=delete)


def test_one_that_nobody_will_finish_is_shown_and_then_aborted(part: Make) -> None:
    one = part()
    one.jobs.clear()
    before = used(one)
    kill_a_sender(one)
    assert used(one) >= before + CHUNK
    (begun,) = one.store.uploads.begun()
    assert begun.key.startswith(KEY)
    shown = later(one, 8 * DAY, delete=False)
    assert (shown.uploads, shown.uploads_due, shown.uploads_aborted) == (1, 1, 0)
    assert list(one.store.uploads.begun()), "a dry run removes nothing"
    assert later(one, 8 * DAY).uploads_aborted == 1
    assert not list(one.store.uploads.begun())
    assert used(one) < before + CHUNK
    assert later(one, 8 * DAY).uploads == 0


def test_a_young_one_and_one_since_an_unfinished_job_are_left(part: Make) -> None:
    one = part()
    assert one.jobs, "a Job that began two days ago goes on"
    kill_a_sender(one)
    found = later(one, 30 * DAY)
    assert (found.uploads, found.uploads_due) == (1, 0)
    one.jobs.clear()
    found = later(one, timedelta())
    assert (found.uploads, found.uploads_due) == (1, 0)
    assert list(one.store.uploads.begun())


def test_a_sender_that_goes_on_after_all_loses_nothing(part: Make) -> None:
    """It was slower than anybody thought: its put fails, and the next one stores everything."""
    one = part()
    one.jobs.clear()
    sent, go_on = threading.Event(), threading.Event()
    content = b"y" * CHUNK

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield content
        sent.set()
        assert go_on.wait(60)
        yield content

    failed: list[StoreError] = []

    def send() -> None:
        try:
            one.publisher(threading.Event()).keys.put(KEY, pieces())
        except StoreError as error:
            failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    assert sent.wait(60)
    try:
        assert later(one, 8 * DAY).uploads_aborted == 1
    finally:
        go_on.set()
        sender.join(60)
    assert failed
    assert one.store.keys.entry(KEY) is None
    one.store.keys.put(KEY, iter([content] * 9))
    found = one.store.keys.entry(KEY)
    assert found is not None
    assert found.size == 9 * CHUNK


def test_other_parts_are_not_looked_at(part: Make) -> None:
    """Part 1 and part 10 begin alike; part-1 is a folder of the same bucket."""
    one = part()
    others = [part() for _ in range(9)]
    one.jobs.clear()
    kill_a_sender(others[-1])
    assert not list(one.store.uploads.begun())
    assert later(one, 8 * DAY).uploads == 0
    assert list(others[-1].store.uploads.begun())


def test_many_are_listed_page_by_page(part: Make) -> None:
    one = part()
    if one.location.endpoint is None:
        pytest.skip("a directory has no pages")
    for number in range(3):
        kill_a_sender(one, f"{KEY} #{number}+%41")
    listed = replace(one.store.uploads, page=1).begun()  # type: ignore[type-var]
    assert sorted(upload.key for upload in listed) == [f"{KEY} #{n}+%41" for n in range(3)]
    one.jobs.clear()
    assert later(one, 8 * DAY).uploads_aborted == 3
    assert not list(one.store.uploads.begun())


def test_what_may_not_list_uploads_still_collects_blobs(
    part: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = part()
    if one.location.endpoint is None:
        pytest.skip("a directory has no keys")
    one.collect(ago=8 * DAY)
    stranger = open_uploads(one.location, Credentials("modelyard", "not the secret"))
    monkeypatch.setattr("modelyard.store.store.open_uploads", lambda *_: stranger)
    report = one.collect()
    assert (report.uploads, report.problem) == (None, "")
    assert "access denied" in report.uploads_unknown
    assert report.deleted
