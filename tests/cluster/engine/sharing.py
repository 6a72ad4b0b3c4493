"""The real engine with a controller that knows many objects together, as a process of the tests.

Each Dataset gets a ConfigMap a node, all at the same time, and tells in its status how many nodes
are ready and what Prometheus answers to the query in its annotation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import uvloop

from modelyard.core import meta
from modelyard.core.plan import (
    AggregateKind,
    Apply,
    Controller,
    Key,
    KubeObject,
    MetricQuery,
    Plan,
    QueryResult,
    View,
)
from modelyard.core.settings import Settings
from modelyard.handlers.process import run
from modelyard.runtime.settings import load

QUERY = "tests/query"


class Nodes:
    """The nodes, with whether they are ready."""

    def __init__(self) -> None:
        self.ready: dict[str, bool] = {}
        self._datasets: dict[str, Key] = {}

    def put(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        metadata = obj["metadata"]
        if kind == "Dataset":
            self._datasets[metadata["uid"]] = Key(kind, metadata["namespace"], metadata["name"])
            return ()
        conditions = obj["status"]["conditions"]
        self.ready[metadata["name"]] = any(c["status"] == "True" for c in conditions)
        return self._datasets.values()

    def drop(self, kind: str, obj: KubeObject) -> Iterable[Key]:
        if kind == "Dataset":
            self._datasets.pop(obj["metadata"]["uid"], None)
            return ()
        self.ready.pop(obj["metadata"]["name"], None)
        return self._datasets.values()


class Observed(NamedTuple):
    obj: KubeObject
    ready: dict[str, bool]
    query: str | None
    answer: QueryResult | None


def observe(view: View, obj: KubeObject, _: Settings) -> Observed:
    query = (obj["metadata"].get("annotations") or {}).get(QUERY)
    answer = view.answer(query) if query else None
    return Observed(obj, dict(view.aggregate("nodes").ready), query, answer)


def child(obj: KubeObject, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta.child_metadata(
            obj, "Dataset", child=f"{obj['metadata']['name']}-{node}", component="test"
        ),
        "data": {"node": node},
    }


def decide(observed: Observed, now: datetime) -> Plan:
    made = datetime.fromisoformat(observed.obj["metadata"]["creationTimestamp"]).astimezone(UTC)
    answer = observed.answer
    told = "nothing" if answer is None else answer.problem or f"{answer.value:g}"
    return Apply(
        apply_unordered=tuple(child(observed.obj, node) for node in observed.ready),
        queries=(MetricQuery(observed.query, made - timedelta(days=1)),) if observed.query else (),
        status={
            "phase": f"Ready on {sum(observed.ready.values())} of {len(observed.ready)}",
            "message": told,
            "conditions": [],
        },
    )


CONTROLLER = Controller(
    kind="Dataset",
    observe=observe,
    decide=decide,
    children=("ConfigMap",),
    aggregates={"nodes": AggregateKind(("Dataset", "Node"), lambda _: Nodes())},
    debounce=lambda view, key: 0.2,
)


if __name__ == "__main__":
    uvloop.run(run((CONTROLLER,), load()))
