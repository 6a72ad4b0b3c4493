"""The agent in its surroundings: what a client of the model and a reader of the object see."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import time

import pytest

from modelyard.serving.triton import ModelState
from modelyard.workloads.agent.memory import FILE

from ...waiting import eventually
from .waiting import until, until_answers, until_ready, until_traffic

pytestmark = [pytest.mark.triton, pytest.mark.cluster]


def box(number: int) -> list[tuple[float, float, float, float, float, int]]:
    return [(number, 20, 50, 60, 0.9, 1)]


async def test_assigned_version_answers_and_the_status_says_so(site, models):
    one = site.publish(models.constant("one", box(1)), 1)
    site.assign(one)
    site.agent.start()

    status = await site.until("Ready", 1)

    assert await site.answers() == "1"
    assert status["loaded"]["modelVersion"] == "digits-1"
    assert status["loaded"]["digest"] == one["digest"]
    assert status["loaded"]["pipeline"] == site.server_object()["spec"]["assigned"]["pipeline"]
    (ready,) = status["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Serving")
    assert "failures" not in status
    assert site.agent.probe("/readyz") == (200, "ok\n")
    assert site.agent.probe("/healthz")[0] == 200
    assert (
        'model_version="digits-1",node="node-1",version="1"} 1.0' in site.agent.probe("/metrics")[1]
    )


async def test_new_version_and_new_settings_replace_the_old_without_a_lost_request(
    site, models, together
):
    one = site.publish(models.constant("one", box(1)), 1)
    two = site.publish(models.constant("two", box(2)), 2)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        await asyncio.sleep(0.5)
        started = time.monotonic()
        site.assign(two)
        await site.until("Ready", 2)
        swapped = time.monotonic() - started
        site.assign(two, confidence=0.95)
        status = await site.until("Ready", 2)
        await asyncio.sleep(0.3)

    print(f"swap {swapped:.2f} s, slowest request {answers.slowest:.3f} s, {answers.versions}")
    assert answers.errors == []
    assert set(answers.versions) == {"1", "2"}
    assert status["loaded"]["pipeline"]["confidence"] == 0.95

    sent = sum(answers.versions.values())
    reported = (await until_traffic(site, lambda t: t["requests"] >= 0.97 * sent))["requests"]
    print(f"sent {sent}, reported {reported}")
    # Warm-ups do not count, and what answered in the last moment of a version may be missed.
    assert reported <= sent


async def test_version_that_triton_refuses_leaves_the_old_one_and_says_why(site, models, together):
    one = site.publish(models.constant("one", box(1)), 1)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        site.assign(site.publish(models.broken("two"), 2))
        status = await site.until("Failed", 1)
        await asyncio.sleep(0.5)

    assert answers.errors == []
    assert set(answers.versions) == {"1"}
    assert status["failures"] == 1
    assert status["loaded"]["modelVersion"] == "digits-1"
    assert "version 2 failed to load" in status["message"]
    assert re.search(r"InvalidProtobuf|Protobuf parsing failed", status["message"])
    assert "version 1 keeps serving" in status["message"]
    assert {(c["type"], c["status"], c["reason"]) for c in status["conditions"]} == {
        ("Ready", "False", "LoadFailed"),
        ("Stalled", "True", "LoadFailed"),
    }
    await until_ready(site, 6)

    site.assign(one)
    # The next try of version 2 would come after 16 s.
    status = await site.until("Ready", 1, seconds=15)
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
    assert "failures" not in status


async def test_artifact_that_the_store_lacks_or_damaged_is_named(site, models):
    one = site.publish(models.constant("one", box(1)), 1)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)

    two = site.publish(models.constant("two", box(2)), 2)
    blob = site.folder / "store" / "blobs" / "sha256" / two["digest"][7:]
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + b"!")
    site.assign(two)
    status = await site.until("Failed", 1)
    assert status["conditions"][0]["reason"] == "DigestMismatch"
    assert two["digest"][7:] in status["message"]

    # Repaired: the agent finds out by itself.
    blob.write_bytes(content)
    await site.until("Ready", 2)

    three = site.publish(models.constant("three", box(3)), 3)
    (site.folder / "store" / "blobs" / "sha256" / three["digest"][7:]).unlink()
    site.assign(three)
    status = await site.until("Failed", 2)
    assert status["conditions"][0]["reason"] == "ArtifactMissing"
    assert await site.answers() == "2"


async def test_without_a_modelserver_the_stable_version_is_served(site, models):
    one = site.publish(models.constant("one", box(1)), 1)
    site.stable(one, confidence=0.5)
    site.agent.start()
    await until_answers(site, "1")
    assert site.agent.probe("/readyz")[0] == 200

    site.assign(one, confidence=0.5)
    status = await site.until("Ready", 1, seconds=15)

    assert status["loaded"]["modelVersion"] == "digits-1"


async def test_api_server_that_goes_away_does_not_end_serving(lonely_site, models, together):
    site = lonely_site
    one = site.publish(models.constant("one", box(1)), 1)
    two = site.publish(models.constant("two", box(2)), 2)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        site.plane.processes.stop(["kube-apiserver"])
        await asyncio.sleep(4)
        await until_ready(site, 6)
        assert site.agent.probe("/healthz")[0] == 200
        site.plane.start()
        site.assign(two)
        # It tries to connect again up to 39 s later.
        await site.until("Ready", 2, seconds=120)

    assert answers.errors == []
    assert set(answers.versions) == {"1", "2"}


async def test_agent_that_is_killed_and_starts_without_api_and_store_serves_what_it_served(
    lonely_site, models, together
):
    site = lonely_site
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    since = (await site.until("Ready", 1))["loaded"]["since"]

    async with together(site.server) as answers:
        site.agent.kill()
        await asyncio.sleep(0.5)
    assert answers.errors == []
    assert set(answers.versions) == {"1"}

    # The node boots: no API server, no store, an empty Triton with an empty repository.
    site.plane.processes.stop(["kube-apiserver"])
    shutil.rmtree(site.folder / "store")
    site.server.stop()
    shutil.rmtree(site.server.root)
    site.server.start()
    site.agent.start()
    await until_answers(site, "1")
    await until_ready(site, 6)

    # The network is back, and it says so: the status is not the one of before.
    site.plane.start()
    status = await until(site, lambda s: s["loaded"]["since"] > since and s)
    assert status["phase"] == "Ready"


async def test_agent_that_restarts_alone_neither_loads_nor_writes_again(site, models, together):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)
    index = await names(site)

    async with together(site.server) as answers:
        site.agent.kill()
        site.agent.start()
        await until_ready(site)
        await asyncio.sleep(0.5)

    assert answers.errors == []
    assert await names(site) == index
    sent = sum(answers.versions.values())
    traffic = await until_traffic(site, lambda t: t["requests"] >= sent)
    assert traffic["requests"] == sent
    # Only traffic was reported: a few writes in as many seconds.
    written = re.search(r"modelyard_agent_reports_total (\d+)", site.agent.probe("/metrics")[1])
    assert int(written[1]) <= 5
    assert "modelyard_agent_switches_total 0.0" in site.agent.probe("/metrics")[1]


async def test_idle_server_writes_nothing(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)
    before = site.server_object()["metadata"]["resourceVersion"]
    await asyncio.sleep(4)
    assert site.server_object()["metadata"]["resourceVersion"] == before


async def test_triton_that_crashes_is_brought_back_to_the_version(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)

    key = site.server.control_key.read_text()
    site.server.stop(signal.SIGKILL)
    await site.until("Loading", None)
    assert site.agent.probe("/readyz")[0] == 503
    started = time.monotonic()
    site.server.start()
    status = await site.until("Ready", 1)

    print(f"answers {time.monotonic() - started:.1f} s after Triton's start")
    assert await site.answers() == "1"
    assert status["phase"] == "Ready"
    assert site.server.control_key.read_text() == key
    for log in (site.folder / "agent.log", site.server.log):
        assert key.strip() not in log.read_text()


async def test_node_that_starts_again_has_another_control_key_and_serves_on(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)

    # What is in memory is gone, the model repository is not.
    key = site.server.control_key.read_text()
    site.server.stop(signal.SIGKILL)
    site.agent.kill()
    site.server.control_key.unlink()
    site.agent.start()
    site.server.start()

    await until_answers(site, "1")
    assert site.server.control_key.read_text() != key
    site.assign(site.publish(models.constant("two", box(2)), 2))
    await site.until("Ready", 2)
    assert await site.answers() == "2"


async def test_triton_that_crashes_while_the_assigned_version_fails_serves_the_last_good_one(
    site, models
):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)
    site.assign(site.publish(models.broken("two"), 2))
    await site.until("Failed", 1)

    site.server.stop(signal.SIGKILL)
    site.server.start()
    await until_answers(site, "1")

    status = await site.until("Failed", 1)
    assert status["loaded"]["modelVersion"] == "digits-1"


async def test_triton_that_ends_while_it_loads_a_version_serves_the_last_good_one(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)

    site.assign(site.publish(models.constant("two", box(2)), 2))
    await eventually(lambda: loading(site, "digits-2"), 60, site.agent.log)
    site.server.stop(signal.SIGKILL)
    site.server.start()

    status = await site.until("Failed", 1)
    assert status["conditions"][0]["reason"] == "TritonCrashed"
    assert "Triton ended while it loaded digits-2" in status["message"]
    assert await site.answers() == "1"


async def test_store_that_hangs_does_not_hold_up_a_version_that_is_cached(site, models):
    one = site.publish(models.constant("one", box(1)), 1)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)
    site.agent.kill()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        site.configure(store={"url": "s3://models", "endpoint": endpoint})
        site.agent.start(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        site.assign(site.publish(models.constant("two", box(2)), 2))
        await site.until("Fetching", 1)
        assert await site.answers() == "1"

        site.assign(one, confidence=0.9)
        status = await site.until("Ready", 1)

        assert status["loaded"]["pipeline"]["confidence"] == 0.9
        site.agent.kill()


async def test_agent_that_is_killed_in_the_middle_of_a_switch_converges(site, models, together):
    one = site.publish(models.constant("one", box(1)), 1)
    two = site.publish(models.constant("two", box(2)), 2)
    site.assign(one)
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        for delay in (0.3, 0.8, 1.4):
            site.assign(two)
            await asyncio.sleep(delay)
            site.agent.kill()
            site.assign(one)
            site.agent.start()
            await site.until("Ready", 1)
        site.assign(two)
        await site.until("Ready", 2)

    assert answers.errors == []
    # Nothing of version 1 or of interrupted tries is left in Triton.
    assert {re.sub(r"-[0-9a-f]{8}", "", name) for name in await names(site)} == {
        "digits",
        "digits-network",
        "digits-2",
        "digits-2-pipeline",
    }


async def test_sigterm_waits_for_triton_and_ends_cleanly(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)

    site.agent.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(1.5)
    # Triton's preStop hook is still running: the model answers, and the probe says so.
    assert site.agent.probe("/readyz")[0] == 200
    site.server.stop(signal.SIGTERM)
    started = time.monotonic()
    assert await asyncio.to_thread(site.agent.process.wait, 10) == 0
    assert time.monotonic() - started < 5
    site.agent.process = None


async def test_last_assignment_of_another_deployment_is_not_served(site, models):
    site.assign(site.publish(models.constant("one", box(1)), 1))
    site.agent.start()
    await site.until("Ready", 1)
    assert (site.folder / "cache" / FILE).exists()
    site.agent.kill()
    text = (site.folder / "cache" / FILE).read_text()
    (site.folder / "cache" / FILE).write_text(
        text.replace('"deployment":"digits"', '"deployment":"x"')
    )

    site.agent.start()
    deadline = time.monotonic() + 30
    while '"deployment":"digits"' not in (site.folder / "cache" / FILE).read_text():
        assert time.monotonic() < deadline, site.agent.log()
        await asyncio.sleep(0.1)
    assert "is of site-" in site.agent.log()


async def names(site) -> set[str]:
    """Models that Triton holds."""
    return {state.name for state in await states(site) if state.occupied}


async def loading(site, start: str) -> bool:
    """Whether Triton loads a model whose name starts so."""
    return any(s.name.startswith(start) and s.state == "LOADING" for s in await states(site))


async def states(site) -> list[ModelState]:
    triton = site.server.client()
    try:
        return await triton.index()
    finally:
        await triton.close()
