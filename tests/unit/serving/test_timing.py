"""The stopwatch of the serving steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.serving.models import timing


def test_a_profiled_step_writes_what_each_request_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(timing.FOLDER_VARIABLE, str(tmp_path))
    recorder = timing.recorder("digits-1-0a1b2c3d-preprocess")
    for images in (1, 4):
        laps = recorder.begin(images)
        for name in ("decode", "letterbox", "decode"):
            laps.lap(name)
        laps.end()

    # Not closed yet: a server may be killed.
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("digits-1-0a1b2c3d-preprocess.")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    recorder.close()
    assert [one["images"] for one in found] == [1, 4]
    for one in found:
        assert list(one["laps"]) == ["decode", "letterbox", timing.OTHER]
        assert sum(one["laps"].values()) == one["end"] - one["begin"]


@pytest.mark.parametrize("folder", ["", "/nowhere/at/all"])
def test_without_a_folder_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv(timing.FOLDER_VARIABLE, folder)
    recorder = timing.recorder("digits")
    laps = recorder.begin()
    laps.lap("decode")
    laps.end()
    recorder.close()
    assert type(recorder) is timing.Recorder
