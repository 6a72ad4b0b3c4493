"""One request per interval and source, from the pipeline's steps to the agent, outside Triton."""

from __future__ import annotations

import collections
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from modelyard.serving.draws import GRACE_SECONDS, Draws
from modelyard.serving.models import drawing, spooling
from modelyard.serving.models.copies import DRAWN, Sampler, write_answer
from modelyard.serving.models.drawing import Answers, Drawing, Writer
from modelyard.serving.names import Generation
from modelyard.serving.spool import Spool

SERVING = Generation("digits", 7, "1f2e3d4c")
FOUND = (np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([3], np.int64))
RAW = np.array([[[0, 0], [0, 0], [1, 1], [1, 1], [0.5, 0.1]]], np.float32)
"""Centre, size and one class of two candidates."""
INTERVAL = 10.0


class Yard:
    """The steps' processes and the agent, with a clock that tests move."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.folder = root / "digits.drawn"
        self.draws = Draws("digits", root)
        self.answers = Answers("digits", suppressed=False)
        monkeypatch.setattr(drawing.time, "monotonic", lambda: self.now)

    def proven(self, parameters: str) -> bool:
        """The guard's part: which requests are the agent's own."""
        return "modelyard_proof" in parameters

    def process(self) -> Drawing:
        return Drawing("digits", SERVING.name, self)  # type: ignore[arg-type]

    def ask(self, **fields: object) -> None:
        wanted = {"parameter": "camera", "sources": [], "most": 8, **fields}
        self.draws.control(SERVING, INTERVAL, **wanted)

    def request(self, process: Drawing, name: str, source: str | None = "a", **more: bool) -> int:
        """One request through both steps; returns its token."""
        parameters = {"camera": source} if source else {}
        token = process.draw(0, name.encode(), (48, 64), json.dumps(parameters))
        if token & DRAWN and more.get("answered", True):
            self.answers.write(token, 7, 12.5, FOUND, RAW[0], np.arange(4, dtype=np.float32))
        return token

    def pass_by(self, *processes: Drawing, seconds: float = INTERVAL + GRACE_SECONDS) -> None:
        self.now += seconds
        for process in processes:
            process._end()


def flush(one: Drawing | Answers) -> None:
    done = threading.Event()
    while not one._writer.put(done.set):
        time.sleep(0.001)
    assert done.wait(5)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """Writes at once what threads would write."""
    monkeypatch.setattr(spooling, "SPOOL", str(tmp_path))
    monkeypatch.setattr(Writer, "put", lambda _, job: job() or True)
    return Yard(tmp_path, monkeypatch)


@pytest.fixture
def threaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    monkeypatch.setattr(spooling, "SPOOL", str(tmp_path))
    return Yard(tmp_path, monkeypatch)


def test_without_a_control_file_nothing_is_drawn(yard):
    assert yard.request(yard.process(), "image") == 0
    assert not yard.folder.exists()
    assert yard.draws.take(yard.now).draws == []


def test_a_drawn_request_comes_out_with_its_answer_and_weight(yard):
    yard.ask()
    process = yard.process()
    for _ in range(5):
        yard.request(process, "image")
    assert yard.draws.take(yard.now).draws == [], "the interval goes on"
    yard.pass_by(process)

    taken = yard.draws.take(yard.now)
    (draw,) = taken.draws

    assert (draw.image, draw.source, draw.requests) == (b"image", "a", 5)
    assert (draw.generation, draw.size) == (SERVING.name, (48, 64))
    assert (draw.answer.version, draw.answer.milliseconds) == (7, 12.5)
    assert draw.answer.boxes.tolist() == [[1, 2, 3, 4]]
    assert draw.answer.classes.tolist() == [3]
    assert draw.answer.top_score == pytest.approx(0.0, abs=1e-3), "the logit of 0.5"
    assert draw.answer.embedding.tolist() == [0, 1, 2, 3]
    assert (taken.missed, taken.left_out, taken.unnamed) == (0, 0, 0)


@pytest.mark.parametrize("shares", [(20,), (15, 4, 1)])
def test_every_request_of_an_interval_is_drawn_equally_often(yard, shares):
    """Also if processes get different numbers of requests: chi-square of 20 cells, p > 0.001."""
    yard.ask()
    processes = [yard.process() for _ in shares]
    drawn: collections.Counter[str] = collections.Counter()
    rounds = 400
    for _ in range(rounds):
        number = 0
        for process, share in zip(processes, shares, strict=True):
            for _ in range(share):
                yard.request(process, str(number))
                number += 1
        yard.pass_by(*processes)
        (draw,) = yard.draws.take(yard.now).draws
        assert draw.requests == 20
        drawn[draw.image.decode()] += 1

    expected = rounds / 20
    chi2 = sum((drawn[str(i)] - expected) ** 2 / expected for i in range(20))
    assert chi2 < 43.8, drawn  # 99.9 % quantile with 19 degrees of freedom


def test_each_source_has_its_own_draw(yard):
    yard.ask()
    process = yard.process()
    for _ in range(30):
        yard.request(process, "busy", "a")
    yard.request(process, "quiet", "b")
    yard.pass_by(process)

    draws = yard.draws.take(yard.now).draws

    assert sorted((d.source, d.image, d.requests) for d in draws) == [
        ("a", b"busy", 30), ("b", b"quiet", 1),
    ]  # fmt: skip


def test_without_the_parameter_the_size_tells_sources_apart(yard):
    yard.ask()
    process = yard.process()
    yard.request(process, "image", None)
    yard.pass_by(process)

    taken = yard.draws.take(yard.now)

    assert taken.draws[0].source == "64x48"
    assert taken.unnamed == 1


def test_sources_beyond_the_maximum_are_counted_and_left_out(yard):
    yard.ask(sources=["a"], most=2)
    process = yard.process()
    for source in ("b", "c", "a", "d"):
        yard.request(process, source, source)
    yard.pass_by(process)

    taken = yard.draws.take(yard.now)

    assert {draw.source for draw in taken.draws} == {"a", "b"}
    assert taken.left_out == 2


def test_names_that_clients_choose_are_short_and_printable(yard):
    yard.ask()
    process = yard.process()
    yard.request(process, "image", "x\n\x1b[31m" + "é" * 100)
    yard.pass_by(process)

    (draw,) = yard.draws.take(yard.now).draws

    assert draw.source == ("x[31m" + "é" * 57)


def test_a_request_without_an_answer_is_missed_and_no_other_takes_its_place(yard):
    yard.ask()
    processes = [yard.process(), yard.process()]
    tokens = [yard.request(p, "image", answered=False) for p in processes]
    lowest = min(
        (json.loads(path.read_bytes().partition(b"\n")[0])["number"], path.stem)
        for path in yard.folder.glob("*.image")
    )[1]
    for token in tokens:
        if f"{token >> 2:016x}" != lowest:
            yard.answers.write(token, 7, 1.0, FOUND, RAW[0])
    yard.pass_by(*processes)

    taken = yard.draws.take(yard.now)

    assert (taken.draws, taken.missed) == ([], 1)


def test_images_beyond_the_quota_are_missed_not_replaced(yard):
    yard.ask(size=10)
    process = yard.process()
    assert yard.request(process, "much too large") & DRAWN
    yard.pass_by(process)

    taken = yard.draws.take(yard.now)

    assert (taken.draws, taken.missed) == ([], 1)


def test_superseded_requests_leave_nothing(yard):
    yard.ask()
    process = yard.process()
    for number in range(200):
        yard.request(process, str(number))

    assert len(list(yard.folder.glob("*.image"))) == 1

    yard.pass_by(process)
    yard.draws.take(yard.now)
    for path in yard.folder.glob("*.answer"):
        os.utime(path, (1, 1))
    yard.draws.take(yard.now)
    assert [path.name for path in yard.folder.iterdir()] == ["control.json"]


def test_a_dead_agent_leaves_no_load(yard):
    yard.ask()
    process = yard.process()
    assert yard.request(process, "image") & DRAWN
    os.utime(yard.folder / "control.json", (1, 1))
    yard.now += 2 * INTERVAL

    assert yard.request(process, "image") == 0


def test_another_generations_requests_are_not_drawn(yard):
    yard.ask()
    other = Drawing("digits", "digits-8-00000000", yard)

    assert yard.request(other, "image") == 0


def test_a_folder_that_vanishes_fails_no_request(yard):
    yard.ask()
    process = yard.process()
    yard.request(process, "image")
    yard.draws.off()
    yard.folder.rmdir()
    yard.now += 2

    assert yard.request(process, "image") == 0


def test_a_full_queue_delays_nothing_and_is_told(threaded):
    yard = threaded
    yard.ask()
    process = yard.process()
    gate, entered = threading.Event(), threading.Event()
    process._writer.put(lambda: (entered.set(), gate.wait(10)))
    assert entered.wait(5)
    while process._writer.put(lambda: None):
        pass

    assert process.draw(0, b"image", (1, 1), '{"camera": "a"}') & DRAWN

    gate.set()
    flush(process)
    yard.pass_by(process)
    flush(process)
    assert yard.draws.take(yard.now).missed == 1


def test_the_agents_own_request_brings_its_token(yard):
    yard.ask()
    process = yard.process()
    asked = {"modelyard_draw": "2a"}

    assert process.draw(0, b"x", (1, 1), json.dumps({**asked, "modelyard_proof": "p"})) >> 2 == 42
    assert process.draw(0, b"x", (1, 1), json.dumps(asked)) >> 2 != 42

    yard.answers.write(42 << 2 | DRAWN, 8, 3.0, FOUND, RAW[0])
    answer = yard.draws.answer(42)
    assert (answer.version, answer.embedding) == (8, None)
    assert yard.draws.answer(42) is None


def test_shadow_copies_and_draws_of_one_request_do_not_meet(yard, tmp_path):
    spool = Spool("digits", tmp_path)
    spool.control(1.0, SERVING)
    yard.ask()
    copied = Sampler(str(tmp_path / "digits"), SERVING.name).sample(b"image")
    token = yard.process().draw(copied, b"image", (1, 1), "{}")
    write_answer(str(tmp_path / "digits"), token, 7, 1.0, FOUND)

    assert token & 3 == 3
    assert [sample.image for sample in spool.take()] == [b"image"]


def test_a_stopped_step_has_written_everything():
    writer = Writer()
    done = []
    for number in range(5):
        writer.put(lambda number=number: done.append(number))
    writer.stop()

    assert done == list(range(5))


def test_files_of_another_format_are_left_out(yard):
    yard.ask()
    for name, content in (("1.image", b"junk"), ("2.image", b"[]\n"), ("3.counts", b"{")):
        (yard.folder / name).write_bytes(content)

    assert yard.draws.take(yard.now).draws == []
