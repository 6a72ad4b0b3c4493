"""What a rollout makes of a real Prometheus' answers: the operator as a process, a real API server
and workload controllers; pods, agents and servers' metrics are played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ControlPlane

from ..admin import Admin, access
from ..fake_status import NODES_STAY
from ..process import Operator
from ..waiting import until
from .pages import Does, Page
from .server import WINDOW, Server
from .shop import Shop

# Prometheus may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[3]
OF_CANDIDATE = '{model="{{modelLine}}",version="{{candidate}}"}'


def rate(name: str) -> str:
    return f"sum(rate({name}{OF_CANDIDATE}[{WINDOW}]))"


FAILED, ANSWERED = rate("modelyard_failures_total"), rate("modelyard_images_total")
ERRORS = f"{FAILED} / ({ANSWERED} + {FAILED})"
P95 = (
    "histogram_quantile(0.95, sum by (le) "
    f"(rate(modelyard_latency_bucket{OF_CANDIDATE}[{WINDOW}])))"
)


def metric(name: str, query: str, **more: Any) -> dict[str, Any]:
    """Measured every second. A rate needs two scrapes: the first measurements say nothing."""
    return {"name": name, "query": query, "interval": "1s", "inconclusiveLimit": 100, **more}


@pytest.fixture(scope="module")
def shop(server: Server, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("operator")
    flags = {"kube-controller-manager": [NODES_STAY]}
    with ControlPlane(folder / "plane", controller_manager=True, more_flags=flags) as plane:
        admin = Admin(access(plane.kubeconfig, folder))
        admin.install(ROOT / "crds")
        made = Shop(admin, page)
        made.prepare()
        operator = Operator(plane.kubeconfig, folder, "operator", PROMETHEUS_URL=server.url)
        server.scrape("modelyard-operator", operator.port, namespace="modelyard-system")
        server.rules(ROOT / "charts/modelyard/files/alerts.yaml")
        server.start()
        try:
            yield made
        finally:
            operator.process.terminate()
            operator.gone()
            print(operator.log.read_text()[-3000:])
        assert "Traceback" not in operator.log.read_text()


def test_a_version_within_its_bounds_passes(shop: Shop) -> None:
    shop.serve(
        "good",
        metric("errors", ERRORS, max=0.1, count=3),
        metric("p95", P95, max=20, count=3),
    )
    shop.version("good", 2, Does(images=49, failures=1, milliseconds=12))
    until(lambda: "errors" in shop.measurements("good"), what="an analysis")
    status = shop.reaches("good", "Healthy")
    assert shop.held("good") == [2, 2]
    assert status["stable"]["version"] == 2
    last = status["history"][0]
    assert last["outcome"] == "Succeeded"
    figures = dict(one.split() for one in last["message"].split("; "))
    assert float(figures["errors"]) == pytest.approx(0.02, abs=0.01)
    assert 10 < float(figures["p95"]) <= 14


def test_a_version_outside_its_bounds_goes_back_and_the_figure_is_told(shop: Shop) -> None:
    shop.serve("bad", metric("errors", ERRORS, max=0.1, failureLimit=1))
    shop.version("bad", 2, Does(images=30, failures=20))
    status = shop.reaches("bad", "Degraded")
    assert status["rejected"]["version"] == 2
    assert status["rejected"]["reason"] == "AnalysisFailed"
    words, _, rest = status["rejected"]["message"].partition(" (must be ≤ 0.1)")
    name, figure = words.split()[-2:]
    assert name == "errors"
    assert float(figure) == pytest.approx(0.4, abs=0.1)
    assert not rest
    assert words in status["message"]
    (ready,) = [c for c in status["conditions"] if c["type"] == "Ready"]
    assert words in ready["message"]
    until(lambda: shop.status("bad") and shop.held("bad") == [1, 1], what="all servers back")
    assert status["history"][0]["outcome"] == "RolledBack"


UNCLEAR = {
    "empty": ("sum(nothing_total)", "the query gives no series: nothing matches"),
    "nobody-asked": (ERRORS, "the query gives NaN, as 0 / 0 does"),
    "several": (
        f"rate(modelyard_images_total{OF_CANDIDATE}[{WINDOW}])",
        "2 series that differ by source, not one: aggregate them",
    ),
    "range": (f"modelyard_images_total{OF_CANDIDATE}[5s]", "a range of values, not one number"),
    "wrong": ("sum(rate(up[5s])", "refuses the query: 1:17: parse error: unclosed left paren"),
    "placeholder": (
        'sum(up{version="{{cadidate}}"})',
        "the query has {{cadidate}}, which stands for nothing: take ",
    ),
}


def test_what_is_no_number_halts_the_rollout_says_why_and_can_be_mended(shop: Shop) -> None:
    metrics = [metric(name, query, max=1) for name, (query, _) in UNCLEAR.items()]
    shop.serve("unclear", *metrics, metric("broken", "sum(", max=1, inconclusiveLimit=6))
    shop.version("unclear", 2, Does(images=0))
    status = shop.reaches("unclear", "Paused")
    assert status["rollout"]["paused"]["reason"] == "Inconclusive"
    assert "broken: Prometheus refuses the query: 1:5: parse error" in status["message"]
    (progressing,) = [c for c in status["conditions"] if c["type"] == "Progressing"]
    assert progressing["reason"] == "Inconclusive"
    found = shop.measurements("unclear")
    for name, (_, words) in UNCLEAR.items():
        assert words in found[name]["message"], name
        assert "value" not in found[name]
        assert found[name]["inconclusive"] > 0
        assert found[name]["failed"] == 0
    assert shop.held("unclear") == [1, 2]
    shop.measured_by("unclear", metric("good", 'sum(up{job="servers"})', min=1))
    shop.act("unclear", "resume")
    shop.reaches("unclear", "Healthy")
    assert shop.held("unclear") == [2, 2]


def test_prometheus_goes_away_and_comes_back(shop: Shop, server: Server) -> None:
    shop.serve("away", metric("errors", ERRORS, max=0.1, count=2))
    server.stop()
    shop.version("away", 2, Does())
    until(lambda: shop.measurements("away").get("errors", {}).get("inconclusive", 0) >= 2)
    errors = shop.measurements("away")["errors"]
    assert "Prometheus cannot be asked: Cannot connect to host 127.0.0.1" in errors["message"]
    assert "Prometheus cannot be asked" in shop.status("away")["message"]
    assert shop.held("away") == [1, 2]
    server.start()
    status = shop.reaches("away", "Healthy")
    assert shop.held("away") == [2, 2]
    assert status["history"][0]["outcome"] == "Succeeded"


def test_the_charts_alerts_are_evaluated_over_a_running_operator(
    shop: Shop, server: Server
) -> None:
    """What they select is there, and none is about to fire while all is well."""
    server.knows("modelyard_leading == 1")

    def evaluated() -> list[dict[str, Any]]:
        rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = until(evaluated, what="all rules to be evaluated")
    assert len(rules) > 10
    assert {
        rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"
    } == {}
    # The group was evaluated after the operator was scraped.
    until(lambda: not server.vector('ALERTS{alertname="ModelyardOperatorDown"}'))
    assert server.vector('ALERTS{alertstate="firing"}') == []
