"""The real engine with one small controller of its own, run as a process by the tests.

Each Dataset gets a ConfigMap `NAME-made` (created once), and `NAME-kept` (applied; follows the
source's URL). Annotations make it misbehave: see decide.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import uvloop

from modelyard.core import meta
from modelyard.core.deployment.gauges import GAUGES
from modelyard.core.plan import Apply, Controller, Create, Event, KubeObject, Plan, Ref, View
from modelyard.core.settings import Settings
from modelyard.handlers.process import run
from modelyard.runtime import logs
from modelyard.runtime.settings import load

MODE = "tests/mode"
BLOCKED_SECONDS = 10.0
"""More than twice the duration of a Lease in these tests."""


@dataclass(frozen=True)
class Observed:
    obj: KubeObject
    made: KubeObject | None
    kept: KubeObject | None
    children: int


def observe(view: View, obj: KubeObject, _: Settings) -> Observed:
    metadata = obj["metadata"]
    if (metadata.get("annotations") or {}).get(MODE) == "block" and "status" not in obj:
        # Not a decision, so nothing ends it: the event loop runs nothing else.
        until = time.monotonic() + BLOCKED_SECONDS
        while time.monotonic() < until:
            pass
    place = metadata["namespace"]
    return Observed(
        obj,
        view.get("ConfigMap", place, f"{metadata['name']}-made"),
        view.get("ConfigMap", place, f"{metadata['name']}-kept"),
        len(list(view.children(obj, "ConfigMap"))),
    )


def child(obj: KubeObject, suffix: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta.child_metadata(
            obj, "Dataset", child=f"{obj['metadata']['name']}-{suffix}", component="test"
        ),
        "data": data,
    }


def decide(observed: Observed, now: datetime) -> Plan:
    obj = observed.obj
    metadata = obj["metadata"]
    mode = (metadata.get("annotations") or {}).get(MODE)
    if metadata.get("deletionTimestamp"):
        return Apply()
    if mode == "poison":
        raise RuntimeError("poisoned by the test")
    while mode == "endless":
        pass
    if mode == "refused":
        return Apply(apply=({**child(obj, "kept", {}), "data": {"not a key!": "x"}},))
    if mode == "drop":
        found = observed.made and observed.made["metadata"]
        refs = (
            (Ref("v1", "ConfigMap", found["namespace"], found["name"], found["uid"]),)
            if found
            else ()
        )
        return Apply(delete=refs, status={"phase": "Dropped", "conditions": []})
    url = obj["spec"]["source"]["http"]["url"]
    ready = observed.kept is not None
    was = obj.get("status") or {}
    if observed.made is None:
        return Create((child(obj, "made", {"born": url}),))
    return Apply(
        apply=(child(obj, "kept", {"url": url}),),
        status={
            "observedGeneration": metadata.get("generation", 0),
            "phase": "Ready" if ready else "Pending",
            "message": f"{observed.children} children",
            "conditions": [],
        },
        events=(Event("Normal", "Ready", f"Dataset {metadata['name']} is ready"),)
        if ready and was.get("phase") != "Ready"
        else (),
        requeue_after=1.0 if mode == "tick" else None,
    )


CONTROLLER = Controller(
    kind="Dataset",
    observe=observe,
    decide=decide,
    children=("ConfigMap",),
    pod_owned_fields=("digest",),
    # All that docs/operations.md lists, though no object here has what they tell of.
    gauges=GAUGES,
)


def main() -> None:
    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    if "--asyncio" in sys.argv:
        asyncio.run(run((CONTROLLER,), settings))
    else:
        uvloop.run(run((CONTROLLER,), settings))


if __name__ == "__main__":
    main()
