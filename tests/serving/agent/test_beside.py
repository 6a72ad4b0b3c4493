"""What the agent does beside serving the assigned version: versions fetched ahead and shadowed,
figures, history, and an edge server's life over several pods."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from typing import Any

import pytest

from modelyard.contract.paths import blob_key

from .waiting import until, until_answers

pytestmark = [pytest.mark.triton, pytest.mark.cluster]

PIPELINE = {"confidence": 0.25}


def box(number: int, score: float = 0.9) -> tuple[float, float, float, float, float, int]:
    return (number, 20, 50, 60, score, 1)


SMALL = (2.0, 2.0, 12.0, 12.0, 0.8, 0)


def shadow_of(assignment: dict[str, Any], share: float = 1.0) -> dict[str, Any]:
    return {"version": {**assignment, "pipeline": PIPELINE}, "share": share}


def compared(status: dict[str, Any]) -> int:
    """Images whose answers were compared with those of the shadowed version."""
    return (status.get("shadow") or {}).get("images", 0)


async def models_of(site: Any, version: int) -> set[str]:
    """Models of a version's generations that Triton holds."""
    triton = site.server.client()
    try:
        states = await triton.index()
    finally:
        await triton.close()
    return {s.name for s in states if s.occupied and re.match(rf"digits-{version}-", s.name)}


async def test_version_is_fetched_ahead_and_a_switch_to_it_needs_no_store(site, models, together):
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)
    two = site.publish(models.constant("two", [box(2)]), 2)

    async with together(site.server) as answers:
        site.wish(staged={**two, "pipeline": PIPELINE})
        staged = await until(site, lambda s: s.get("staged"))
        assert await models_of(site, 2) == set()
        shutil.rmtree(site.folder / "store")
        site.assign(two)
        site.wish(staged=None)
        await site.until("Ready", 2)
        await until(site, lambda s: "staged" not in s)

    identity = {name: two[name] for name in ("digest", "manifestDigest")}
    assert staged == {"modelVersion": "digits-2", "version": 2, **identity}
    assert answers.errors == []


async def test_version_that_cannot_be_fetched_ahead_is_named_and_harms_nothing(site, models):
    site.configure(cache_bytes=200_000)
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)
    two = site.publish(models.constant("two", [box(2)]), 2)
    blob = site.folder / "store" / blob_key(two["digest"])
    content = blob.read_bytes()

    blob.unlink()
    site.wish(staged=two)
    failure = (await until(site, lambda s: s.get("staged")))["failure"]
    assert failure.startswith("ArtifactMissing: ")
    assert two["digest"][7:] in failure
    blob.write_bytes(content)
    # It comes by itself, and the failure goes.
    await until(site, lambda s: s.get("staged") and "failure" not in s["staged"])

    large = site.publish(models.constant("large", [box(3)], candidates=20_000), 3)
    site.wish(staged=large)
    failure = await until(site, lambda s: (s.get("staged") or {}).get("failure"))
    assert failure.startswith("NoSpace: ")
    assert "quota" in failure
    assert site.status()["phase"] == "Ready"


async def test_shadowed_version_is_compared_on_copies_and_then_switched_to(site, models, together):
    one = site.publish(models.constant("one", [box(1), SMALL]), 1)
    same = site.publish(models.constant("two", [box(1), SMALL], candidates=90), 2)
    half = site.publish(models.constant("three", [box(1)], candidates=91), 3)
    site.assign(one, **PIPELINE)
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        site.wish(shadow=shadow_of(same))
        first = await until(site, lambda s: (s.get("shadow") or {}).get("images", 0) > 20 and s)
        site.wish(shadow=shadow_of(half))
        second = await until(
            site,
            lambda s: (f := s.get("shadow") or {}).get("version") == 3 and f["images"] > 20 and s,
        )
        assert await models_of(site, 2) == set()
        beside = await models_of(site, 3)
        assert set(answers.versions) == {"1"}

        site.assign(half, **PIPELINE)
        site.wish(shadow=None)
        await site.until("Ready", 3)
        await until(site, lambda s: "shadow" not in s)
        assert await models_of(site, 3) == beside

    assert answers.errors == []
    figures = first["shadow"]
    assert figures["digest"] == same["digest"]
    assert figures["matched"] == figures["stableBoxes"] == figures["shadowBoxes"]
    assert sum(figures["latency"]) == figures["images"]
    assert figures["stableBoxes"] == 2 * figures["images"]
    figures = second["shadow"]
    assert figures["shadowBoxes"] == figures["matched"] == figures["images"]
    assert figures["stableBoxes"] == 2 * figures["images"]
    assert figures["failures"] == 0
    assert second["loaded"]["version"] == 1
    # The switch took what was prepared.
    assert "serves version 3 (before: 1): load 0.00 s, warm-up 0.00 s" in site.agent.log()
    await until(site, lambda _: not list(site.server.spool.glob("digits/*")))


async def test_version_that_cannot_be_shadowed_is_named_and_the_other_serves(
    site, models, together
):
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        site.wish(shadow=shadow_of(site.publish(models.broken("two"), 2)))
        shadow = await until(site, lambda s: s.get("shadow"))
        site.wish(shadow=None)
        await until(site, lambda s: "shadow" not in s)

    assert shadow["failure"].startswith("LoadFailed: version 2 failed to load")
    assert shadow["version"] == 2
    assert answers.errors == []
    assert set(answers.versions) == {"1"}
    assert site.status()["phase"] == "Ready"


async def test_triton_that_restarts_during_a_shadow_serves_and_shadows_again(
    site, models, together
):
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)
    site.wish(shadow=shadow_of(site.publish(models.constant("two", [box(1)], candidates=90), 2)))
    async with together(site.server):
        await until(site, compared)

    site.server.stop()
    site.server.start()
    await until_answers(site, "1")
    before = await until(site, compared)
    async with together(site.server) as answers:
        await until(site, lambda s: compared(s) > before + 5 and answers.versions)

    shadow = site.status()["shadow"]
    assert (shadow["failures"], "failure" in shadow) == (0, False)
    assert shadow["matched"] == shadow["images"]
    assert set(answers.versions) == {"1"}


async def test_figures_are_of_the_version_that_serves_and_a_quiet_one_reports_none(
    site, models, together
):
    site.assign(site.publish(models.constant("one", [box(1), SMALL]), 1))
    site.agent.start()
    await site.until("Ready", 1)
    assert "figures" not in site.status()

    async with together(site.server):
        figures = await until(
            site, lambda s: (f := s.get("figures")) and f["requests"] > 20 and f["latency"] and f
        )

    assert figures["version"] == 1
    assert 1 <= figures["seconds"] <= 60
    assert sum(figures["latency"]) == figures["requests"]
    assert figures["boxes"] == 2 * figures["requests"]
    assert figures["confidenceMillis"] == pytest.approx(850 * figures["boxes"], rel=0.01)

    two = site.publish(models.constant("two", [box(2)]), 2)
    site.assign(two)
    await site.until("Ready", 2)
    await until(site, lambda s: "figures" not in s)
    before = site.server_object()["metadata"]["resourceVersion"]
    await asyncio.sleep(4)
    assert site.server_object()["metadata"]["resourceVersion"] == before


async def test_history_tells_what_answered_when_also_after_restarts(site, models):
    assignments = [site.publish(models.constant(f"v{n}", [box(n)]), n) for n in (1, 2, 3)]
    site.assign(assignments[0])
    site.agent.start()
    first = (await site.until("Ready", 1))["loaded"]["since"]
    site.assign(assignments[1])
    second = (await site.until("Ready", 2))["loaded"]["since"]
    site.agent.kill()
    site.assign(assignments[2])
    site.agent.start()
    status = await site.until("Ready", 3)

    third = status["loaded"]["since"]
    periods = await until(site, lambda s: len(h := s.get("history") or []) == 2 and h)
    assert [(p["modelVersion"], p["since"], p["until"]) for p in periods] == [
        ("digits-2", second, third),
        ("digits-1", first, second),
    ]
    assert 'deployment="digits",digest="sha256:' in site.agent.probe("/metrics")[1]


async def test_edge_server_goes_on_in_another_pod_that_reports_once_it_is_told_to(site, models):
    site.on_edge(report_seconds=2)
    one = site.publish(models.constant("one", [box(1)]), 1)
    two = site.publish(models.constant("two", [box(2)]), 2)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)
    assert site.server_object()["metadata"]["name"].startswith("digits-node-1-")
    site.agent.kill()

    # The cache of the node outlives the pod; Triton and its repository do not.
    site.server.stop()
    shutil.rmtree(site.server.root)
    site.server.start()
    site.replace_pod("digits-server-1")
    before = site.server_object()["metadata"]["resourceVersion"]
    site.agent.start()
    await until_answers(site, "1")
    site.wish(assigned=two)
    await until_answers(site, "2")
    await asyncio.sleep(3)
    # It serves what is assigned, but says nothing where another pod is entered.
    assert site.status()["loaded"]["version"] == 1
    assert site.agent.counter("api_errors") == 0
    assert site.agent.counter("reports") == 0
    assert before

    site.wish(podName="digits-server-1")
    status = await site.until("Ready", 2)
    assert [p["version"] for p in status["history"]] == [1]


async def test_edge_server_without_anything_to_say_reports_that_it_is_there(site, models):
    site.on_edge(report_seconds=1)
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    first = (await site.until("Ready", 1))["reportedAt"]
    await until(site, lambda s: s["reportedAt"] > first, seconds=10)
    later = site.status()
    # One write in 0.9 seconds, not more.
    begun, reports = time.monotonic(), site.agent.counter("reports")
    await asyncio.sleep(5)
    assert site.status()["reportedAt"] > later["reportedAt"]
    reports = site.agent.counter("reports") - reports
    assert reports <= 1 + (time.monotonic() - begun) / 0.9


async def test_new_pod_on_a_node_without_a_network_serves_what_the_node_served(
    lonely_site, models, together
):
    site = lonely_site
    site.on_edge(report_seconds=2)
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    since = (await site.until("Ready", 1))["loaded"]["since"]
    site.agent.kill()
    site.replace_pod("digits-server-1")

    # The node boots: neither API server nor store, and Triton is empty.
    site.plane.processes.stop(["kube-apiserver"])
    shutil.rmtree(site.folder / "store")
    site.server.stop()
    shutil.rmtree(site.server.root)
    site.server.start()
    site.agent.start()
    await until_answers(site, "1")

    async with together(site.server) as answers:
        site.plane.start()
        site.wish(podName="digits-server-1")
        await until(site, lambda s: s["loaded"]["since"] > since)
    assert answers.errors == []
    # Within one period: the version was interrupted, not replaced.
    assert [p["since"] for p in site.status()["history"]] == [since]


async def test_edge_pod_without_a_cache_of_the_node_takes_over_the_history(site, models):
    site.on_edge()
    site.assign(site.publish(models.constant("one", [box(1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)
    site.assign(site.publish(models.constant("two", [box(2)]), 2))
    await site.until("Ready", 2)
    site.agent.kill()

    shutil.rmtree(site.folder / "cache")
    site.server.stop()
    shutil.rmtree(site.server.root)
    site.server.start()
    site.replace_pod("digits-server-1")
    site.wish(podName="digits-server-1")
    site.agent.start()
    await site.until("Ready", 2)
    status = await until(site, lambda s: len(s.get("history") or ()) == 2 and s)
    assert [p["version"] for p in status["history"]] == [2, 1]
