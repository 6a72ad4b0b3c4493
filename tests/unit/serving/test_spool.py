"""The spool between the pipeline's steps and the agent, outside Triton."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.models.copies import CONTROL_SECONDS, Sampler, file_name, write_answer
from modelyard.serving.names import Generation
from modelyard.serving.spool import ORPHAN_SECONDS, Spool

SERVING = Generation("digits", 7, "1f2e3d4c")
FOUND = (np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([3], np.int64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool("digits", tmp_path)


@pytest.fixture
def sampler(folder: Path) -> Callable[[], Sampler]:
    """Makes samplers that have not looked at the control file yet."""
    return lambda: Sampler(str(folder), SERVING.name)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_without_a_control_file_nothing_is_written(sampler, folder, spool):
    assert sampler().sample(b"image") == 0
    assert not folder.exists()
    assert spool.take() == []
    assert spool.dropped == 0


def test_an_image_and_its_answer_come_out_together(sampler, folder, spool):
    spool.control(1.0, SERVING)
    token = sampler().sample(b"image")
    assert spool.take() == []

    write_answer(str(folder), token, 7, 12.5, FOUND)
    (sample,) = spool.take()

    assert (sample.image, sample.version, sample.milliseconds) == (b"image", 7, 12.5)
    assert sample.boxes.tolist() == [[1, 2, 3, 4]]
    assert (sample.scores.tolist(), sample.classes.tolist()) == ([0.5], [3])
    assert [p.name for p in folder.iterdir()] == ["control.json"]


def test_the_oldest_are_taken_first_and_no_more_than_asked_for(sampler, folder, spool):
    spool.control(1.0, SERVING)
    one = sampler()
    for number in range(5):
        token = one.sample(bytes([number]))
        write_answer(str(folder), token, 7, 1.0, FOUND)
        age(folder / file_name(token, "answer"), 10 - number)

    assert [s.image[0] for s in spool.take(2)] == [0, 1]
    assert [s.image[0] for s in spool.take(9)] == [2, 3, 4]


def test_another_generation_is_not_copied(folder, spool):
    spool.control(1.0, SERVING)

    assert Sampler(str(folder), "digits-8-00000000").sample(b"image") == 0


@pytest.mark.parametrize("limits", [{"files": 3}, {"size": 3 * 100}])
def test_what_goes_beyond_the_limits_is_counted(sampler, spool, limits):
    spool.control(1.0, SERVING, **limits)
    one = sampler()

    tokens = [one.sample(bytes(100)) for _ in range(5)]

    assert [bool(t) for t in tokens] == [True, True, True, False, False]
    assert spool.dropped == 2


def test_a_control_file_that_nobody_touches_says_nothing(sampler, folder, spool):
    spool.control(1.0, SERVING)
    age(folder / "control.json", CONTROL_SECONDS + 5)
    assert sampler().sample(b"image") == 0

    spool.take()

    assert sampler().sample(b"image") != 0


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"generation": 1, "share": "x"}'])
def test_an_unreadable_control_file_says_nothing(sampler, folder, text):
    folder.mkdir()
    (folder / "control.json").write_text(text)

    assert sampler().sample(b"image") == 0


def test_off_leaves_nothing(sampler, folder, spool):
    spool.control(1.0, SERVING, files=1)
    one = sampler()
    one.sample(b"image")
    one.sample(b"image")

    spool.off()
    spool.off()

    assert list(folder.iterdir()) == []
    assert spool.dropped == 0
    assert sampler().sample(b"image") == 0


def test_images_of_requests_that_failed_are_cleared_away(sampler, folder, spool):
    spool.control(1.0, SERVING)
    one = sampler()
    for _ in range(2):
        one.sample(b"image")
    left, fresh = folder.glob("*.image")
    (folder / "0123.image.part").write_bytes(b"half")
    age(left, ORPHAN_SECONDS + 5)
    age(folder / "0123.image.part", ORPHAN_SECONDS + 5)

    assert spool.take() == []

    assert {p.name for p in folder.iterdir()} == {"control.json", fresh.name}


@pytest.mark.parametrize("answer", [b"", b"{}\n", b'{"version": 7', b'{"boxes": 3}\nshort'])
def test_a_broken_answer_is_thrown_away(sampler, folder, spool, answer):
    spool.control(1.0, SERVING)
    token = sampler().sample(b"image")
    (folder / file_name(token, "answer")).write_bytes(answer)

    assert spool.take() == []
    assert {p.name for p in folder.iterdir()} == {"control.json"}


def test_a_lost_folder_fails_no_request(folder):
    write_answer(str(folder), 5, 7, 1.0, FOUND)

    assert not folder.exists()


@given(
    st.lists(st.sampled_from(["sample", "answer", "take", "fail"]), max_size=40),
    st.integers(1, 4),
    st.integers(0, 2**16),
)
def test_the_limits_hold_and_every_copy_is_taken_once_or_counted(
    tmp_path_factory, steps, files, seed
):
    """Any order of requests that come, are answered or fail, and of takes."""
    root = tmp_path_factory.mktemp("spool")
    spool, chance = Spool("digits", root), random.Random(seed)
    spool.control(1.0, SERVING, files=files)
    sampler = Sampler(str(root / "digits"), SERVING.name)
    waiting: dict[int, bytes] = {}
    answered: set[bytes] = set()
    taken: list[bytes] = []
    asked = failed = 0
    for step in steps:
        if step == "sample":
            image = asked.to_bytes(4, "big")
            asked += 1
            if token := sampler.sample(image):
                waiting[token] = image
        elif step == "answer" and waiting:
            token = chance.choice(sorted(waiting))
            answered.add(waiting.pop(token))
            write_answer(str(root / "digits"), token, 7, 1.0, FOUND)
        elif step == "fail" and waiting:
            waiting.pop(chance.choice(sorted(waiting)))
            failed += 1
        elif step == "take":
            taken += [sample.image for sample in spool.take(2)]
        assert len(list((root / "digits").glob("*.image"))) <= files

    taken += [sample.image for sample in spool.take(files)]
    assert sorted(taken) == sorted(answered)
    assert asked == len(taken) + len(waiting) + failed + spool.dropped
