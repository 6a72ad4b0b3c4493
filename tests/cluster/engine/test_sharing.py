"""What is known of many objects together, writes at the same time, and answers of Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.cluster

SUBJECT = str(Path(__file__).with_name("sharing.py"))
NODES = "/api/v1/nodes"
COUNT = 12


@pytest.fixture
def prometheus() -> Iterator[str]:
    """A server that answers each query with its length."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            vector = [{"metric": {}, "value": [1.0, str(len(query))]}]
            body = {"status": "success", "data": {"resultType": "vector", "result": vector}}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.fixture
def nodes(server: Any) -> Iterator[list[str]]:
    """Nodes that have not reported yet; their images are more than anybody reads."""
    names = [f"edge-{number}" for number in range(COUNT)]
    for name in names:
        server.call("POST", NODES, {"metadata": {"name": name}})
    yield names
    for name in names:
        server.http.delete(f"{NODES}/{name}")


def report(server: Any, node: str, ready: str) -> None:
    status = {
        "conditions": [
            {"type": "MemoryPressure", "status": "True"},
            {"type": "Ready", "status": ready},
        ],
        "images": [{"names": [f"{node}/image-{n}"], "sizeBytes": 1} for n in range(20)],
    }
    server.merge(f"{NODES}/{node}/status", {"status": status})


def told(server: Any, space: str) -> str:
    return str((server.see(space, "a").get("status") or {}).get("message"))


def test_nodes_come_change_and_go(
    server: Any, space: str, start: Any, wait: Any, nodes: list[str]
) -> None:
    start("operator", SUBJECT)
    server.dataset(space, "a")
    server.dataset(space, "b")
    for name in ("a", "b"):
        wait(lambda n=name: server.phase(space, n) == f"Ready on 0 of {COUNT}", what="all are seen")
    for node in nodes:
        wait(lambda n=node: server.config_map(space, f"a-{n}"), what=f"the child of {node}")
    for node in nodes:
        report(server, node, "True")
    wait(lambda: server.phase(space, "a") == f"Ready on {COUNT} of {COUNT}", what="all are ready")
    report(server, nodes[0], "Unknown")
    server.call("DELETE", f"{NODES}/{nodes[1]}")
    wait(
        lambda: server.phase(space, "b") == f"Ready on {COUNT - 2} of {COUNT - 1}",
        what="one is not ready and one is gone",
    )


def test_a_query_is_answered(
    server: Any, space: str, start: Any, wait: Any, prometheus: str
) -> None:
    operator = start("operator", SUBJECT, PROMETHEUS_URL=prometheus)
    server.dataset(space, "a")
    server.patch(space, "a", {"metadata": {"annotations": {"tests/query": "sum(up)"}}})
    wait(lambda: told(server, space) == "7", what="the answer is told")
    assert operator.metric("modelyard_prometheus_queries_total") == 1


def test_without_prometheus_the_problem_is_told(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    start("operator", SUBJECT)
    server.dataset(space, "a")
    server.patch(space, "a", {"metadata": {"annotations": {"tests/query": "sum(up)"}}})
    wait(lambda: "prometheus.url" in told(server, space), what="what to set is told")
