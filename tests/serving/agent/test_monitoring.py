"""Monitoring by an agent as a pod runs it, on a real Triton's requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ...waiting import eventually
from .waiting import until

pytestmark = [pytest.mark.triton, pytest.mark.cluster]

DRIFT = {
    "sample": "1s",
    "block": {"duration": "1s", "images": 2},
    "baseline": {"days": 0, "blocks": 20},
    "source": {"max": 2},
    "signals": ["TopScore", "Embedding"],
    "explain": ["Brightness"],
    "expectedRunLength": "1h",
    "hold": "60s",
}


def kinds(status: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in (status.get("drift") or {}).get("findings") or ()}


async def test_drift_is_looked_for_while_it_is_asked_for_and_survives_the_agent(
    site, models, together
):
    site.assign(site.publish(models.constant("one", [(8, 20, 50, 60, 0.9, 1)]), 1))
    site.agent.start()
    await site.until("Ready", 1)

    async with together(site.server) as answers:
        site.wish(monitoring={"drift": DRIFT})
        found = await until(site, lambda s: (s.get("drift") or {}).get("sources") and s)
        assert found["drift"]["state"] in ("Calibrating", "Unknown")
        assert found["drift"]["artifactDigest"].startswith("sha256:")
        assert kinds(found) >= {"EmbeddingUnavailable", "NoPersistence"}

        site.wish(monitoring={"drift": DRIFT, "reset": "all@1"})
        await until(site, lambda s: (s.get("drift") or {}).get("reset") == "all@1")

        site.agent.kill()
        site.agent.start()

        async def looks() -> bool:
            status, text = site.agent.probe("/drift")
            return status == 200 and (json.loads(text)["drift"] or {}).get("sources") == 1

        await eventually(looks, 60, site.agent.log)
        assert "modelyard_drift_observations_total" in site.agent.probe("/metrics")[1]

        site.wish(monitoring=None)
        await until(site, lambda s: "drift" not in s)

    assert answers.errors == []
