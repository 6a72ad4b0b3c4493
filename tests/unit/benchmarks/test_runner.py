"""The command line that the benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ...benchmarks import runner
from ...benchmarks.report import Report, at_most

SUITE = runner.Suite(
    target="bench-toy",
    module="tests.benchmarks.toy",
    titles={"one": "The first", "two": "The second"},
    smoke=["--size", "1"],
    prefix="toy-",
    describe=lambda: {"cores": 2},
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = SUITE.parser()
    parser.add_argument("--size", type=int, default=100)
    return SUITE.parse(parser, arguments)


def measure(session: runner.Session) -> None:
    for name in session.wanted:
        with session.part(name) as report:
            session.say(f"[{name}]")
            report.goals = [at_most("size", 10, session.options.size)]


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """Leaves the signal to who had it."""
    import signal

    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_each_part_that_is_asked_for_leaves_a_report(tmp_path: Path) -> None:
    assert runner.run(SUITE, parse, measure, ["two", "--size", "7"], tmp_path) == 0

    assert [file.name for file in tmp_path.iterdir()] == ["toy-two.json"]
    report = Report.read(tmp_path / "toy-two.json")
    assert (report.name, report.title) == ("toy-two", "The second")
    assert report.command == "make bench-toy BENCH='two --size 7'"
    assert report.machine == {"cores": 2}
    assert report.parameters["size"] == 7
    assert report.goals[0].met
    assert report.at.endswith("Z")


def test_all_parts_are_measured_by_default_and_a_missed_goal_is_no_failure(tmp_path: Path) -> None:
    assert runner.run(SUITE, parse, measure, [], tmp_path) == 0

    reports = [Report.read(file) for file in sorted(tmp_path.iterdir())]
    assert [report.name for report in reports] == ["toy-one", "toy-two"]
    assert [report.goals[0].met for report in reports] == [False, False]


def test_what_is_missing_is_told_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def impossible(session: runner.Session) -> None:
        with session.part("one"):
            raise runner.CannotMeasure("no [hammer] here: apt-get install hammer")

    assert runner.run(SUITE, parse, impossible, ["one"], tmp_path) == 1

    assert "no [hammer] here: apt-get install hammer" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_progress_is_printed_as_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.run(SUITE, parse, measure, ["one"], tmp_path)

    assert "[one]" in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["three"])

    assert "no part is called three" in capsys.readouterr().err
