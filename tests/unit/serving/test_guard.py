"""What the pipeline's steps refuse, outside Triton."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract import control
from modelyard.serving.models import guard
from modelyard.serving.models.guard import Frames, Guard, RefusedError, frame_key, seal

KEY = b"ab" * 32
GENERATION = "shop-1-0123abcd"
FRAMES = frame_key(KEY, GENERATION)


def frame(**changes: int) -> np.ndarray:
    values = {"height": 480, "width": 640, "started": time.monotonic_ns(), "token": 7, **changes}
    return seal(FRAMES, **values)[0]


def test_a_signed_frame_says_what_was_put_in() -> None:
    started = time.monotonic_ns()
    assert Frames(FRAMES).open(frame(started=started)) == (480, 640, started, 7)


def test_a_frame_is_accepted_once() -> None:
    frames, one = Frames(FRAMES), frame()
    frames.open(one)
    with pytest.raises(RefusedError, match="not the pipeline's own"):
        frames.open(one)
    frames.open(frame())


@given(st.integers(0, 55), st.integers(1, 255))
def test_no_changed_byte_is_accepted(place: int, change: int) -> None:
    content = bytearray(frame().tobytes())
    content[place] ^= change
    with pytest.raises(RefusedError):
        Frames(FRAMES).open(np.frombuffer(bytes(content), "<i8"))


@pytest.mark.parametrize(
    "key", [frame_key(KEY, "shop-2-0123abcd"), frame_key(b"cd" * 32, GENERATION), KEY]
)
def test_no_frame_of_another_generation_or_pod_is_accepted(key: bytes) -> None:
    with pytest.raises(RefusedError):
        Frames(key).open(frame())


@pytest.mark.parametrize("seconds", [guard.FRAME_SECONDS + 1, 3600])
def test_a_frame_kept_back_is_refused(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, one = Frames(FRAMES), frame()
    later = time.monotonic_ns() + int(seconds * 1e9)
    monkeypatch.setattr(time, "monotonic_ns", lambda: later)
    with pytest.raises(RefusedError, match="s old"):
        frames.open(one)


def test_a_restarted_step_takes_what_is_under_way_and_no_old_frame_again() -> None:
    now = time.monotonic_ns()
    frames = Frames(FRAMES)
    frames.open(frame(started=now - int(5e9)))
    with pytest.raises(RefusedError):
        frames.open(frame(started=now - int(15e9)))


def test_memory_is_bounded_and_forgotten_frames_stay_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MAX_FRAMES", 10)
    frames = Frames(FRAMES)
    made = [frame() for _ in range(30)]
    for one in made:
        frames.open(one)
    assert len(frames._seen) == 10
    for one in made:
        with pytest.raises(RefusedError):
            frames.open(one)


@pytest.fixture
def public(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop" / "config.pbtxt"


def test_a_generation_is_open_once_the_public_name_leads_there(public: Path) -> None:
    step = Guard(KEY, "shop", GENERATION, str(public.parents[1]))
    public.write_text('step { model_name: "shop-1-99999999-preprocess" }')
    with pytest.raises(RefusedError, match="send requests to shop"):
        step.check("{}")

    public.write_text(f'step {{ model_name: "{GENERATION}-preprocess" }}')
    step.check("{}")
    public.unlink()
    step.check("")


def test_a_generation_that_was_public_stays_open_where_nobody_asked_it_before(public: Path) -> None:
    """The names lead elsewhere on disk before Triton has heard of it, or for as long as an agent
    is dead that has not told it."""
    public.write_text('step { model_name: "shop-2-99999999-preprocess" }')
    (public.parents[1] / guard.offered_file("shop")).write_text(f"shop-0-00000000\n{GENERATION}")
    Guard(KEY, "shop", GENERATION, str(public.parents[1])).check("{}")


def test_the_agent_always_has_an_answer(public: Path) -> None:
    step = Guard(KEY, "shop", GENERATION, str(public.parents[1]))
    step.check(json.dumps({control.PROOF_PARAMETER: control.proof(KEY, GENERATION)}))


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "{}",
        "[]",
        "null",
        "no JSON",
        json.dumps({control.PROOF_PARAMETER: control.proof(KEY, "shop-2-0123abcd")}),
        json.dumps({control.PROOF_PARAMETER: control.proof(b"ef" * 32, GENERATION)}),
        json.dumps({control.PROOF_PARAMETER: 1}),
        json.dumps({control.PROOF_PARAMETER: "\ud800"}),
        json.dumps({control.PROOF_PARAMETER: None}),
    ],
)
def test_nothing_but_the_proof_of_this_generation_opens_it(parameters: str, public: Path) -> None:
    step = Guard(KEY, "shop", GENERATION, str(public.parents[1]))
    with pytest.raises(RefusedError):
        step.check(parameters)


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_no_key_no_steps(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "KEY_FILE", str(tmp_path / "key"))
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(RuntimeError, match="no control key"):
        guard.read_key()


def test_steps_and_agent_agree_on_names() -> None:
    assert guard.PROOF == control.PROOF_PARAMETER
    assert str(control.KEY_FILE) == "/run/modelyard/control/key"
    assert str(control.KEY_FILE) == guard.KEY_FILE
