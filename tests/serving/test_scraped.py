"""A real Prometheus scrapes a real Triton, and the queries of documentation have answers there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.core.deployment.autoscaling import QUEUE_METRIC, REQUESTS_METRIC
from modelyard.serving.settings import ServingSettings
from modelyard.serving.warmup import grey_png

from ..cluster.prometheus.documented import filled, of_operations, of_the_adapter
from ..cluster.prometheus.server import Server as Prometheus
from ..cluster.prometheus.server import built

pytestmark = pytest.mark.triton
PNG = grey_png(64, 64)
BOXES = [(8.0, 16.0, 40.0, 48.0, 0.9, 2)]


@pytest.fixture
def prometheus(shared_server: Any, tmp_path: Path) -> Iterator[Prometheus]:
    built("prometheus")
    made = Prometheus(tmp_path)
    made.scrape("servers", shared_server.ports[2], namespace="shop", pod="shelf-0")
    made.start()
    yield made
    made.stop()


async def test_documented_queries_have_answers(
    prometheus: Prometheus, switcher: Any, triton: Any, models: Any
) -> None:
    await switcher.ensure(3, *models.constant("v3", BOXES), ServingSettings())

    async def load() -> None:
        while True:
            await triton.infer_image(switcher.line, PNG)

    running = asyncio.create_task(load())
    words = {"modelLine": switcher.line, "candidate": "3"}
    by_version, slow, errors = (
        filled(query.replace('"shelf"', f'"{switcher.line}"'), **words) for query in of_operations()
    )
    rules = of_the_adapter("shop", "shelf-0")

    async def ask(query: str) -> list[tuple[dict[str, str], float]]:
        return await asyncio.to_thread(prometheus.knows, query)

    ((labels, _),) = await ask(f"{by_version} > 0")
    assert labels == {"version": "3"}
    # Both at once: a rate of failures is there although nothing has ever failed.
    ((_, share),) = await ask(f"({errors}) and on() ({by_version} > 0)")
    assert share == 0
    ((_, milliseconds),) = await ask(f"{slow} > 0")
    assert milliseconds < 5000
    figures = {}
    for name, (series, query) in rules.items():
        found = [labels for labels, _ in await ask(series)]
        assert any(one["model"].startswith(f"{switcher.line}-3-") for one in found)
        ((_, figures[name]),) = await ask(query)
    assert figures[REQUESTS_METRIC] > 0
    assert figures[QUEUE_METRIC] >= 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
