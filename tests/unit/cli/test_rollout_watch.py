"""Following a rollout: what is read how often, what ends it, and a cluster that is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.cli import rolloutwatch, servers
from modelyard.cli.errors import UNREACHABLE, CliError
from modelyard.cli.kube import FieldSelectorUnsupported
from modelyard.cli.rolloutwatch import Output, Reader, Screen, follow

from .rollouts import HISTORY, deployment, rolling, server

AWAY = CliError("the cluster cannot be reached", UNREACHABLE)
HEALTHY = deployment(phase="Healthy", message="all answer")
DEGRADED = deployment(phase="Degraded", message="rolled back")


class Cluster:
    """Answers `get` with one thing after the other, the last one for ever."""

    def __init__(self, *answers: Any, failed: list[Any] | None = None) -> None:
        self._answers = iter(answers)
        self._last: Any = None
        self._failed = failed or []
        self.lists = 0

    def get(self, kind: str, namespace: str, name: str) -> Any:
        self._last = next(self._answers, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def objects(self, kind: str, namespace: str, **wanted: Any) -> Any:
        self.lists += 1
        assert wanted["fields"] == "status.phase=Failed"
        assert wanted["labels"] == "modelyard.dev/owner-uid=u"
        return self._failed[: wanted["limit"]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rolloutwatch, "REFRESH_SECONDS", 0.0)
    return


def followed(*answers: Any, seconds: float | None = None) -> bool | None:
    reader = Reader(Cluster(*answers), "vision", "cameras")  # type: ignore[arg-type]
    screen = Screen(Output.TEXT, "modelyard rollout {} {}")
    return follow(reader, screen, until_end=True, seconds=seconds)


OTHER_END = HISTORY[1] | {"revision": 7}


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        pytest.param([HEALTHY], True, id="there is nothing to wait for"),
        pytest.param([rolling(), rolling("Step", 4), HEALTHY], True, id="it ends well"),
        pytest.param([rolling(), DEGRADED], False, id="it is rolled back"),
        pytest.param(
            [rolling(), deployment(phase="Healthy", history=[OTHER_END])],
            False,
            id="it was rolled back, and all is well again",
        ),
        pytest.param([rolling(), AWAY, AWAY, HEALTHY], True, id="the cluster is away for a while"),
    ],
)
def test_until_the_rollout_has_ended(answers: list[Any], wanted: bool) -> None:
    assert followed(*answers) is wanted


def test_not_for_ever() -> None:
    assert followed(rolling(), seconds=0.05) is None


def test_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    followed(rolling(), rolling(), rolling(done=400), AWAY, AWAY, HEALTHY)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" cameras: ")[1][:30] for line in lines] == [
        "Progressing; shelf-4 → shelf-5",
        "Progressing; shelf-4 → shelf-5",
        "the cluster cannot be reached",
        "Healthy; shelf-4; 0 of 0 updat",
    ]


def test_a_deployment_that_is_gone_ends_it() -> None:
    with pytest.raises(CliError, match="there is no Deployment"):
        followed(rolling(), CliError("there is no Deployment cameras"))


def test_a_cluster_that_was_never_there_ends_it() -> None:
    with pytest.raises(CliError, match="cannot be reached"):
        followed(AWAY)


def test_failed_servers_are_read_now_and_then_only() -> None:
    bad = [server(f"node-{i}", phase="Failed", message=f"m{i}") for i in range(9)]
    cluster = Cluster(deployment(phase="Healthy"), rolling(), failed=bad)
    reader = Reader(cluster, "vision", "cameras")  # type: ignore[arg-type]
    assert reader.read().failures == ()
    assert cluster.lists == 0
    for _ in range(20):
        seen = reader.read()
    assert cluster.lists == 1
    assert [f.message for f in seen.failures] == [f"m{i}" for i in range(5)]
    assert seen.failures[0].node == "node-0"


class OldCluster:
    """Knows no field selectors for our kinds; serves its servers in pages."""

    def __init__(self, found: list[Any]) -> None:
        self._found = found
        self.pages = 0

    def objects(self, *_: Any, **wanted: Any) -> Any:
        raise FieldSelectorUnsupported("no")

    def page(self, *_: Any, limit: int, after: str, **__: Any) -> tuple[list[Any], str]:
        self.pages += 1
        start = int(after or 0)
        more = str(start + limit) if start + limit < len(self._found) else ""
        return self._found[start : start + limit], more


def test_old_clusters_are_looked_through_page_by_page() -> None:
    fleet = [
        server(f"n{i}", phase="Failed" if i in (3, 700, 1400) else "Ready") for i in range(1700)
    ]
    cluster: Any = OldCluster(fleet)
    found = servers.failed(cluster, deployment(), limit=2)
    assert [one["spec"]["nodeName"] for one in found] == ["n3", "n700"]
    assert cluster.pages == 2
    cluster = OldCluster(fleet)
    assert len(servers.failed(cluster, deployment(), limit=5)) == 3
    assert len(servers.on_node(cluster, deployment(), "n1699")) == 1
    cluster = OldCluster([server(f"n{i}", phase="Ready") for i in range(9000)])
    assert servers.failed(cluster, deployment(), limit=1) == []
    assert cluster.pages == servers.MAX_READ / 500
