"""Statistics, goals and pages of the benchmarks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ...benchmarks import __main__ as command
from ...benchmarks import figures, pages
from ...benchmarks.api import parse_writes
from ...benchmarks.arms import job_template, named
from ...benchmarks.creation import Size
from ...benchmarks.report import Report, Table, at_least, at_most, below
from ...benchmarks.sampling import Sample
from ...benchmarks.stats import quantile, ratios, spread


def sample(arm: str, number: int, rate: float, objects: int = 1000, **more: object) -> Sample:
    return Sample(arm, objects, number, rate=rate, **more)  # type: ignore[arg-type]


def report(**more: object) -> Report:
    machine = {
        "processor": "Some CPU", "cores": 2, "memory_gib": 24.0, "kernel": "6.1", "python": "3.11",
        "kubernetes": "v1.36.3", "etcd": "v3.6.6", "commit": "abc", "load_before": 0.1,
    }  # fmt: skip
    made = Report("create", "Create", "python -m tests.benchmarks", machine, {"smoke": False})
    made.at = "2026-11-26T21:05:09Z"
    made.tables = [Table("Rates", ["arm", "objects/s"], [["ours", "100"]])]
    made.goals = [at_least("rate", 0.75, 0.8), at_most("writes", 2, 3)]
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_ratios_are_taken_within_a_round() -> None:
    # The second round ran on a machine half as fast: the ratio is the same.
    found = ratios({1: 80.0, 2: 40.0, 3: 90.0}, {1: 100.0, 2: 50.0, 4: 1.0})
    assert found is not None
    assert (found.median, found.low, found.high) == (0.8, 0.8, 0.8)
    assert ratios({1: 80.0}, {2: 100.0}) is None


def test_spreads_and_quantiles() -> None:
    assert spread([3.0, 1.0, 2.0]).text(0) == "2 (1 to 3)"
    assert spread([1234.5]).text(1) == "1,234.5"
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)) == (50, 99, 100)
    with pytest.raises(ValueError, match="nothing"):
        spread([])


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (at_least("rate", 0.75, 0.75), True),
        (at_least("rate", 0.75, 0.749), False),
        (at_most("writes", 2, 2.0), True),
        (at_most("writes", 2, 2.01), False),
        (below("seconds", 10, 10.0), False),
        (at_least("rate", 0.75, None), False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_never_when_it_was_not_measured(
    goal: figures.Goal, met: bool
) -> None:
    assert goal.met is met


def test_goals_compare_medians_and_count_the_worst_writes() -> None:
    life = {"PATCH trainingjobs/status": 2.0, "POST modelversions": 1.0}
    follows = {"PATCH modelversions/status": 1.0, "POST jobs": 1.0}
    created = {"POST jobs": 1.0, "PATCH trainingjobs/status": 1.0, "PATCH datasets/status": 0.01}
    samples = [
        sample("kcm", 1, 100.0),
        sample("kcm", 2, 200.0),
        sample("modelyard", 1, 150.0, created=created, lived={**life, **follows}),
        sample("modelyard", 2, 360.0, created={**created, "POST jobs": 1.25}),
    ]
    found = {goal.name: goal for goal in figures.goals(samples)}
    kcm = found["create → Job, 1,000 objects, share of the rate of kube-controller-manager"]
    assert (kcm.measured, kcm.met) == (1.65, True)
    trainer = found["create → Job, 1,000 objects, share of the rate of Kubeflow Trainer"]
    assert (trainer.measured, trainer.met) == (None, False)
    writes = {name: goal for name, goal in found.items() if name.startswith("writes")}
    assert [goal.measured for goal in writes.values()] == [2.25, 5.0]
    assert [goal.met for goal in writes.values()] == [False, True]


def test_tables_have_a_row_for_every_arm_and_size() -> None:
    samples = [sample(arm, 1, 10.0, size) for arm in figures.LABELS for size in (100, 5000)]
    tables = figures.tables(samples)
    assert [table.title.partition(" ")[0] for table in tables] == ["100"] * 4 + ["5,000"] * 4
    assert [row[0] for row in tables[0].rows] == list(figures.LABELS.values())


def test_writes_are_read_from_the_api_servers_metrics() -> None:
    lines = [
        'apiserver_request_total{code="201",dry_run="",group="batch",resource="jobs",'
        'subresource="",verb="POST"} 3',
        'apiserver_request_total{code="409",dry_run="",group="batch",resource="jobs",'
        'subresource="",verb="POST"} 1',
        'apiserver_request_total{code="200",dry_run="",group="batch",resource="jobs",'
        'subresource="status",verb="PATCH"} 2',
        'apiserver_request_total{code="200",dry_run="All",group="batch",resource="jobs",'
        'subresource="",verb="POST"} 7',
        'apiserver_request_total{code="200",dry_run="",group="batch",resource="jobs",'
        'subresource="",verb="LIST"} 9',
    ]
    assert parse_writes(lines) == Counter({"POST jobs": 4, "PATCH jobs/status": 2})


def test_a_job_can_be_made_again_from_what_the_server_returns() -> None:
    labels = {"app": "x", "controller-uid": "1", "batch.kubernetes.io/job-name": "a"}
    job = {
        "metadata": {"name": "a", "uid": "1", "resourceVersion": "5", "labels": {"app": "x"}},
        "spec": {"selector": {}, "template": {"metadata": {"labels": labels}, "spec": {}}},
        "status": {"active": 1},
    }
    again = named(job_template(job), "b")
    assert again["metadata"] == {"labels": {"app": "x"}, "name": "b", "namespace": "bench"}
    assert "selector" not in again["spec"]
    assert again["spec"]["template"]["metadata"]["labels"] == {"app": "x"}
    assert "status" not in again


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000x5", Size(1000, 5, 5)), ("5000x3/1", Size(5000, 3, 1)), ("10x2/0", Size(10, 2, 0))],
)
def test_sizes_on_the_command_line(text: str, size: Size) -> None:
    assert Size.parse(text) == size
    assert str(size) == text


@pytest.mark.parametrize("text", ["1000", "x5", "0x1", "10x1/2"])
def test_a_wrong_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not OBJECTSxROUNDS"):
        Size.parse(text)


def test_a_smoke_run_keeps_what_was_asked_for() -> None:
    options = command.parse(["--smoke", "memory", "--workers", "4"])
    assert options.what == ["memory"]
    assert (options.workers, options.live, options.smoke) == (4, 100, True)


def test_figures_reach_the_page_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n<!-- create: begin -->\nold\n<!-- create: end -->\nafter\n")
    report().write(tmp_path)
    assert pages.update(page, tmp_path) == [
        "create: 2026-11-26 21:05 UTC, instead of a run of an unknown time"
    ]
    text = page.read_text()
    assert "old" not in text
    assert "| ours | 100 |" in text
    assert "| writes | at most 2 | 3 | NOT MET |" in text
    assert text.endswith("<!-- create: end -->\nafter\n")
    assert pages.update(page, tmp_path) == ["create: 2026-11-26 21:05 UTC"]
    assert page.read_text() == text, "rendering twice changes nothing"


def test_a_reports_picture_lies_beside_the_page(tmp_path: Path) -> None:
    reports, page = tmp_path / "reports", tmp_path / "benchmarks.md"
    page.write_text("<!-- create: begin -->\n<!-- create: end -->\n")
    report().write(reports)
    (reports / "create.svg").write_text("<svg/>")
    (reports / "other.svg").write_text("<svg/>")
    pages.update(page, reports)
    assert [one.name for one in tmp_path.glob("*.svg")] == ["create.svg"]


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (
            "2026-11-26T21:04:59Z",
            "create: left at 2026-11-26 21:05 UTC, create.json is of 2026-11-26 21:04 UTC",
        ),
        ("", "create: left as it is, create.json does not say when it was run"),
    ],
)
def test_an_older_run_never_replaces_what_the_page_shows(
    tmp_path: Path, at: str, line: str
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("<!-- create: begin --><!-- create: end -->")
    report().write(tmp_path)
    pages.update(page, tmp_path)
    text = page.read_text()
    report(at=at, tables=[Table("Rates", ["arm"], [["stale"]])]).write(tmp_path)
    assert pages.update(page, tmp_path) == [line]
    assert page.read_text() == text


def test_a_later_run_replaces_what_the_page_shows(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("<!-- create: begin --><!-- create: end -->")
    report().write(tmp_path)
    pages.update(page, tmp_path)
    report(at="2026-11-27T00:00:00Z", tables=[Table("Rates", ["arm"], [["new"]])]).write(tmp_path)
    assert pages.update(page, tmp_path) == [
        "create: 2026-11-27 00:00 UTC, instead of 2026-11-26 21:05 UTC"
    ]
    assert "| new |" in page.read_text()


def test_smoke_runs_never_reach_the_page(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("nothing here\n")
    report(parameters={"smoke": True}).write(tmp_path)
    assert pages.update(page, tmp_path) == []
    report().write(tmp_path)
    with pytest.raises(pages.NoMarkers, match="create: begin"):
        pages.update(page, tmp_path)
