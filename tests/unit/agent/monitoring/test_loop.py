"""The agent's loop of monitoring, with real statistics and a real disk."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.monitoring import DriftState, Signal, Source
from modelyard.serving.draws import Taken
from modelyard.serving.triton import TritonUnavailableError
from modelyard.workloads.agent.monitoring import loop
from modelyard.workloads.agent.monitoring.keeping import FILE

from .yard import QUICK, Yard, digest, generation


@pytest.fixture
def yard(tmp_path, monkeypatch) -> Yard:
    # Time is played, and nothing saves unless a test says so.
    monkeypatch.setattr(loop, "SAVE_SECONDS", 1e9)
    monkeypatch.setattr(loop, "SAVE_SOON_SECONDS", 1e9)
    monkeypatch.setattr(loop, "TICK_SECONDS", 0.0)
    return Yard(tmp_path)


def kinds(yard: Yard) -> set[str]:
    return {one.kind for one in yard.monitor.report.findings or ()}


async def test_nothing_is_drawn_unless_it_is_asked_for(yard):
    yard.wish(None)
    assert await yard.monitor.step() is None
    assert (yard.draws.controls, yard.monitor.report) == ([], None)

    yard.wish(QUICK)
    await yard.monitor.step()
    (control,) = yard.draws.controls
    assert (control["generation"], control["interval"]) == (generation(1).name, 1.0)
    assert yard.monitor.report.state == DriftState.UNKNOWN

    yard.wish(None)
    assert await yard.monitor.step() is None
    assert yard.monitor.report is None
    assert yard.draws.offs == 2


async def test_settings_change_at_run_time(yard):
    yard.wish(QUICK)
    await yard.monitor.step()
    source = Source(parameter="camera", max=3)
    yard.wish(QUICK.model_copy(update={"sample": "2s", "source": source}))
    await yard.monitor.step()
    await yard.monitor.step()

    assert len(yard.draws.controls) == 2
    control = yard.draws.controls[1]
    assert (control["interval"], control["parameter"], control["most"]) == (2.0, "camera", 3)


async def test_a_change_is_found_told_at_once_and_over_after_hold(yard):
    yard.wish()
    await yard.calibrate()
    assert yard.monitor.report.state == DriftState.STABLE
    before = yard.changes

    await yard.pass_by(60, mean=-4)

    report = yard.monitor.report
    assert report.state == DriftState.DRIFTING
    (drift,) = [one for one in report.findings if one.kind == "Drift"]
    assert (drift.source, drift.signal) == ("hall", "TopScore")
    assert drift.size < 0
    assert report.artifact_digest == digest(1)
    assert yard.changes == before + 1, "one report for one transition"
    assert yard.offered[-1][1], "capture knows that it drifts"
    level = yard.registry.get_sample_value(
        "modelyard_drift_level", {"source": "hall", "signal": "TopScore"}
    )
    assert level > 0
    charts = yard.monitor.recent()["charts"]
    assert {one["signal"] for one in charts} >= {"TopScore"}
    assert len(charts[0]["points"][0]) == 3


async def test_an_unchanged_stream_tells_nothing_new(yard):
    yard.wish()
    await yard.calibrate()
    report, changes = yard.monitor.report, yard.changes

    await yard.pass_by(120)

    assert yard.monitor.report == report
    assert yard.changes == changes


async def test_a_restart_goes_on_where_the_agent_was(yard):
    yard.wish()
    await yard.calibrate()
    report = yard.monitor.report
    await yard.restarted()

    await yard.monitor.step()
    assert yard.monitor.report.state == DriftState.STABLE
    assert yard.monitor.report.calibrated == report.calibrated

    await yard.pass_by(60, mean=-4)
    drifting = yard.monitor.report
    await yard.restarted()
    await yard.monitor.step()
    assert yard.monitor.report.findings == drifting.findings


async def test_a_node_that_boots_without_a_network_goes_on(yard):
    yard.wish()
    await yard.calibrate()
    yard.assigned.server = yard.assigned.monitoring = None
    await yard.restarted()

    await yard.pass_by(5)

    assert yard.monitor.report.state == DriftState.STABLE


async def test_a_full_disk_costs_the_memory_only(yard, monkeypatch):
    yard.wish()
    await yard.pass_by(3)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("modelyard.workloads.agent.memory.os.replace", full)
        await yard.pass_by(3)
        await yard.monitor.save()
    await yard.restarted()
    await yard.monitor.step()

    assert yard.monitor.report.sources == 1


@pytest.mark.parametrize("content", [b"junk", b""])
async def test_a_damaged_state_is_told_and_taken_anew(yard, content):
    yard.wish()
    await yard.calibrate()
    (yard.folder / FILE).write_bytes(content)
    yard.restart()

    await yard.pass_by(3)
    assert "StateLost" in kinds(yard)
    assert yard.monitor.report.state == DriftState.CALIBRATING

    await yard.calibrate()
    assert "StateLost" not in kinds(yard)


async def test_accept_ends_drift_once_and_leaves_others_alone(yard):
    yard.wish()
    await yard.calibrate()
    await yard.pass_by(60, mean=-4)

    yard.wish(QUICK, accepted="all@1")
    await yard.pass_by(1, mean=-4)
    assert yard.monitor.report.state != DriftState.DRIFTING
    assert yard.monitor.report.accepted == "all@1"

    state = yard.monitor._state
    await yard.restarted()
    await yard.monitor.step()
    assert yard.monitor._state.sources["hall"].model.anchor == state.sources["hall"].model.anchor


async def test_accept_changes_nothing_where_nothing_drifts(yard):
    yard.wish()
    await yard.calibrate()
    baseline = yard.monitor._state.sources["hall"].model.baseline

    yard.wish(QUICK, accepted="all@1")
    await yard.monitor.step()

    assert yard.monitor.report.accepted == "all@1"
    assert yard.monitor._state.sources["hall"].model.baseline == baseline


async def test_reset_takes_baselines_anew_once(yard):
    yard.wish()
    await yard.calibrate()
    yard.wish(QUICK, reset="all@2")
    await yard.monitor.step()
    assert yard.monitor.report.calibrated == 0
    assert yard.monitor.report.reset == "all@2"

    await yard.calibrate()
    await yard.monitor.step()
    assert yard.monitor.report.calibrated == 1


async def test_a_clock_that_is_wrong_holds_charts_and_says_so(yard):
    yard.wish()
    await yard.pass_by(4)
    yard.clock.right = False
    await yard.monitor.step()
    await yard.pass_by(60)

    assert yard.monitor.report.state == DriftState.UNKNOWN
    assert yard.monitor.report.findings[0].kind == "ClockUnsynchronised"
    assert len(yard.monitor.report.findings) == len(kinds(yard)), "told once"


async def test_what_is_missing_is_told(tmp_path):
    yard = Yard(tmp_path, persistent=False)
    yard.embeds = False
    source = Source(parameter="camera", max=1)
    yard.wish(QUICK.model_copy(update={"source": source, "signals": list(Signal)}))
    yard.draws.next.append(Taken([yard.draw(0.0)], left_out=3, unnamed=2))
    await yard.monitor.step()

    assert kinds(yard) >= {"NoSource", "TooManySources", "EmbeddingUnavailable", "NoPersistence"}


async def test_what_was_answered_before_a_switch_counts_for_the_old_version(yard):
    yard.wish()
    await yard.pass_by(2)
    yard.serves = 2
    yard.draws.next.append(Taken([yard.draw(0.0, number=1)]))
    await yard.monitor.step()

    assert yard.draws.controls[-1]["generation"] == generation(2).name
    assert yard.monitor.report.artifact_digest == digest(1)
    assert yard.registry.get_sample_value("modelyard_drift_missed_total") == 0


async def test_a_baseline_is_carried_over_a_rollout(yard):
    yard.wish()
    await yard.calibrate()
    yard.shadows(2)
    await yard.pass_by(220)
    yard.serves, yard.beside = 2, None

    await yard.pass_by(40, mean=3)
    assert yard.monitor.report.artifact_digest == digest(2)
    assert yard.monitor.report.state == DriftState.STABLE, yard.monitor.report

    await yard.pass_by(60, mean=-1)
    assert yard.monitor.report.state == DriftState.DRIFTING


async def test_too_few_pairs_carry_nothing_over(yard):
    yard.wish()
    await yard.calibrate()
    yard.shadows(2)
    await yard.pass_by(100)
    yard.serves, yard.beside = 2, None

    await yard.pass_by(40, mean=3)

    assert yard.monitor.report.state == DriftState.CALIBRATING


@pytest.mark.parametrize("error", [TritonUnavailableError("gone"), OSError("no folder")])
async def test_trouble_is_waited_for(yard, error):
    yard.wish()
    await yard.pass_by(2)
    yard.error = error
    assert await yard.monitor.step() > 0

    yard.error = None
    await yard.pass_by(2)
    assert yard.monitor.report.sources == 1


async def test_without_a_wish_for_drift_capture_still_gets_samples(yard):
    yard.wish(None, capture={"random": 5})
    await yard.pass_by(3)

    assert len(yard.offered) == 3
    assert yard.monitor.report is None


async def test_an_asked_to_stop_agent_changes_nothing_any_more_but_saves(yard):
    yard.wish()
    await yard.pass_by(4)
    yard.monitor.stopping = True
    taken = len(yard.draws.next)
    yard.draws.next.append(Taken([yard.draw(0.0)]))
    await yard.monitor.step()
    assert len(yard.draws.next) == taken + 1

    await yard.restarted()
    await yard.monitor.step()
    assert yard.monitor.report.sources == 1


async def test_open_blocks_are_written_seldom_and_what_happened_soon(yard, monkeypatch):
    """Flash wears out: within 5 minutes of images, one write for blocks."""
    now = 0.0
    monkeypatch.setattr(loop.time, "monotonic", lambda: now)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 300.0)
    monkeypatch.setattr(loop, "SAVE_SOON_SECONDS", 5.0)
    yard.wish()
    await yard.calibrate()
    await yard.monitor.save()
    writes = []
    keep = yard.monitor._keeper.write
    monkeypatch.setattr(
        yard.monitor._keeper, "write", lambda kept: writes.append(now) or keep(kept)
    )

    for _ in range(40):
        now += 10
        await yard.pass_by(1)
    assert len(writes) == 1

    yard.wish(QUICK, accepted="all@1")
    now += 10
    await yard.pass_by(1)
    assert len(writes) == 2


@pytest.mark.parametrize("step", ["fdopen", "fsync", "replace"])
async def test_an_agent_killed_at_any_step_of_a_write_goes_on_from_the_write_before(
    yard, monkeypatch, step
):
    yard.wish()
    await yard.calibrate()
    await yard.monitor.save()
    await yard.pass_by(10)

    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"modelyard.workloads.agent.memory.os.{step}", die)
        with pytest.raises(Killed):
            await yard.monitor.save()
    yard.restart()
    await yard.pass_by(3)

    assert yard.monitor.report.state == DriftState.STABLE
    assert "StateLost" not in kinds(yard)
