"""Captures survive kills, lost networks and full disks; the store gets each of them once.

Played: the store (takes each name once), kills (an exception at the n-th change of the disk).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard.api.monitoring import Redaction, ServerCapture
from modelyard.contract.capture import CaptureFile, CaptureReason
from modelyard.workloads.agent.capture import uploading

from .played import MIDNIGHT, WITHOUT, Site, jpeg

HOUR = 3600
ALL = ServerCapture(random=24, uncertain=24, drifting=24, redact=WITHOUT, on_demand="2/x1")
DOUBTFUL = np.array([0.5], np.float32)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Kills at the n-th rename or removal from now, if there is a number in the list."""
    left: list[int] = []

    def counted(real):  # type: ignore[no-untyped-def]
        def call(*args, **options):  # type: ignore[no-untyped-def]
            if left:
                left[0] -= 1
                if left[0] == 0:
                    left.clear()
                    raise Killed
            return real(*args, **options)

        return call

    for name in ("replace", "unlink", "rename"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    yield left
    left.clear()


async def live(site: Site, start: int = 0) -> int:
    """Three hours with all kinds of captures; returns the minute that was reached."""
    for minute in range(start, 180, 30):
        try:
            await site.sample(
                MIDNIGHT + 60 * minute, drifting=True, scores=DOUBTFUL, image=jpeg(minute)
            )
            await site.capturer.tend()
        except Killed:
            return minute
    return 180


@pytest.mark.parametrize("number", range(1, 60, 3))
async def test_a_kill_at_any_change_of_the_disk_loses_and_doubles_nothing(
    tmp_path: Path, kill_at: list[int], number: int
) -> None:
    site = Site(tmp_path)
    site.settings = ALL
    kill_at.append(number)
    minute = await live(site)
    kill_at.clear()
    site.restart()
    await live(site, minute)
    site.now = MIDNIGHT + 4 * 86_400
    await site.capturer.tend()
    found = site.intake.captures()
    by_reason = {
        reason: sorted(
            one.record.inclusion.stratum_start if one.record.inclusion else one.record.time
            for one in site.intake.captures(reason)
        )
        for reason in CaptureReason
    }
    assert len({one.record.id for one in found}) == len(found)
    for reason in (CaptureReason.RANDOM, CaptureReason.DRIFTING):
        assert len(by_reason[reason]) == len(set(by_reason[reason])) == 3, reason
    assert 3 <= len(by_reason[CaptureReason.UNCERTAIN]) <= 3
    # A request that was being recorded when the kill came may be met by one image more.
    assert 2 <= len(by_reason[CaptureReason.ON_DEMAND]) <= 3
    assert site.spooled() == []


async def test_a_kill_between_put_and_record_stores_nothing_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ServerCapture(
        random=0, uncertain=0, drifting=0, redact=WITHOUT, on_demand="1/a"
    )
    stored = site.intake.store

    async def store(path: Path) -> None:
        await stored(path)
        raise Killed

    site.intake.store = store  # type: ignore[method-assign]
    await site.sample()
    for _ in range(3):
        with pytest.raises(Killed):
            await site.capturer.tend()
        site.restart()
    site.intake.store = stored  # type: ignore[method-assign]
    await site.capturer.tend()
    assert len(site.intake.captures()) == 1
    assert site.spool.state.stored == 1


async def test_captures_wait_for_the_network(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.settings = ALL
    site.intake.up = False
    await live(site)
    await site.pass_to(MIDNIGHT + 86_400 * 2)
    status = site.capturer.status
    assert status is not None
    assert status.failure is not None
    assert status.failure.startswith("Unreachable")
    assert (status.stored, status.waiting) == (None, 11)
    site.intake.up = True
    site.restart()
    await site.pass_to(MIDNIGHT + 86_400 * 3)
    assert len(site.intake.captures()) == 11
    assert site.capturer.status is not None
    assert site.capturer.status.failure is None


async def test_without_an_intake_service_the_status_says_what_to_do(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.uploader._intake = None
    await site.sample()
    await site.capturer.tend()
    assert site.capturer.status is not None
    assert "intake.enabled" in (site.capturer.status.failure or "")


async def test_full_disks_drop_other_captures_before_random_ones(tmp_path: Path) -> None:
    one = len(jpeg()) + 4096
    site = Site(tmp_path, quota=30 * one)
    site.intake.up = False
    site.settings = ServerCapture(random=24, uncertain=24, drifting=24, redact=WITHOUT)
    for hour in range(20):
        await site.sample(MIDNIGHT + HOUR * hour, drifting=True, scores=DOUBTFUL, image=jpeg(hour))
        await site.capturer.tend()
    reasons = [capture.record.reason for capture in site.spooled()]
    assert reasons.count(CaptureReason.RANDOM) == 20
    assert site.spool.size() <= 30 * one
    assert site.spool.state.dropped


async def test_random_captures_are_thinned_out_evenly_and_their_weights_say_so(
    tmp_path: Path,
) -> None:
    one = len(jpeg()) + 4096
    site = Site(tmp_path, quota=100 * one)
    site.intake.up = False
    site.settings = ServerCapture(random=240, uncertain=0, drifting=0, redact=WITHOUT)
    count = 400
    for span in range(count):
        await site.sample(MIDNIGHT + 360 * span, requests=None)
        await site.capturer.tend()
        if span == 300:
            site.restart()
    site.intake.up = True
    await site.pass_to(MIDNIGHT + 86_400 * 10)
    found = site.intake.captures(CaptureReason.RANDOM)
    assert len(found) < 110
    weights = [one.record.inclusion.weight for one in found if one.record.inclusion]
    # Horvitz-Thompson: the weights of what is left estimate how many there were.
    assert 0.6 * count < sum(weights) < 1.5 * count
    times = sorted(one.record.time for one in found)
    first_half = [time for time in times if time < "2026-11-28T20"]
    assert len(first_half) > 10, "the beginning is still there"


async def test_a_stricter_policy_removes_what_a_laxer_one_left(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.intake.up = False
    site.settings = ALL
    await live(site)
    assert site.spooled()
    site.settings = ALL.model_copy(update={"redact": Redaction(faces=True)})
    site.restart()
    site.faces.error = OSError("not asked")
    site.now += 1
    await site.capturer.tend()
    with pytest.raises(OSError, match="not asked"):
        await site.sample()
    assert site.spooled() == []
    assert site.spool.state.dropped >= 11


async def test_servers_whose_disk_goes_with_the_pod_send_at_once_and_at_the_end(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, durable=False)
    await site.sample()
    await site.pass_to(MIDNIGHT + HOUR)
    assert len(site.intake.captures()) == 1
    await site.sample(MIDNIGHT + HOUR + 1)
    await site.capturer.drain()
    assert len(site.intake.captures()) == 2
    assert site.spooled() == []


async def test_one_file_a_day_and_server_at_its_own_time(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for hour in range(72):
        await site.sample(MIDNIGHT + HOUR * hour, image=jpeg(hour))
        await site.capturer.tend()
    names = [CaptureFile.parse(name) for name in site.intake.files]
    assert len(names) == 3
    assert all(name is not None for name in names)


def test_uploads_of_a_fleet_are_spread_over_the_day() -> None:
    phases = [uploading.phase(f"server-{number}") for number in range(5000)]
    counts, _ = np.histogram(phases, bins=24, range=(0, 1))
    assert counts.min() > 150
    assert counts.max() < 270


async def test_half_written_and_damaged_files_do_no_harm(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.sample()
    [path] = (tmp_path / "open").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "open" / ".half").write_bytes(b"x")
    (tmp_path / "state.json").write_text("{")
    site.restart()
    await site.pass_to(MIDNIGHT + 3 * 86_400)
    assert site.intake.captures() == []
    assert site.spooled() == []
