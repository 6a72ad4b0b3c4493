"""What must hold at every moment of a rollout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .journal import Entry, Object
from .world import World, assignments, held

RETRY = "modelyard.dev/retry"


def budget(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """At most maxUnavailable servers (of a pool) go to a new version at the same time. Those
    that go back to the stable one may all do so at once."""
    if entry.kind != "ModelServer":
        return
    name = entry.obj["spec"]["deployment"]
    owner = world.named("Deployment", name)
    if owner is None:
        return
    stable = held(owner, "stable")
    switching = Counter(
        s["spec"].get("pool", "")
        for s in world.servers(name)
        if s["spec"]["assigned"]["modelVersion"] != stable
        and ((s.get("status") or {}).get("loaded") or {}).get("version")
        not in (None, s["spec"]["assigned"]["version"])
    )
    if switching and max(switching.values()) > int(owner["spec"]["rollout"]["maxUnavailable"]):
        yield f"{switching.total()} servers of Deployment {name} switch at the same time"


def decided(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """A server is assigned only versions in the Deployment's status, so a crash loses nothing."""
    if entry.kind != "ModelServer":
        return
    owner = world.named("Deployment", entry.obj["spec"]["deployment"])
    old = assignments(before) if before else {}
    known = {held(owner, "stable"), held(owner, "candidate")}
    for part, version in assignments(entry.obj).items():
        wanted = version["modelVersion"]
        if owner is not None and version != old.get(part) and wanted not in known:
            name = entry.obj["metadata"]["name"]
            yield f"ModelServer {name} was {part} {wanted} before the Deployment's status"


def shadows(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """What is shadowed runs beside stable, on no more servers than the spec allows."""
    if entry.kind != "ModelServer" or "shadow" not in entry.obj["spec"]:
        return
    name, server = entry.obj["spec"]["deployment"], entry.obj["metadata"]["name"]
    owner = world.named("Deployment", name)
    if owner is None:
        return
    assigned = entry.obj["spec"]["assigned"]["modelVersion"]
    if assigned != held(owner, "stable"):
        yield f"ModelServer {server} shadows beside {assigned}, which is not stable"
    mine = world.servers(name)
    shadowing = [s for s in mine if "shadow" in s["spec"]]
    asked = (owner["spec"]["rollout"].get("shadow") or {}).get("servers", 0)
    most = -(-int(asked[:-1]) * len(mine) // 100) if isinstance(asked, str) else asked
    if len(shadowing) > most:
        yield f"{len(shadowing)} servers of Deployment {name} shadow, {most} may"


def unshadowed(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """When a user changes a Deployment, the operator is idle: nothing is shadowed any more but
    by the stage for it."""
    if entry.kind != "Deployment" or not before:
        return
    if entry.obj["metadata"]["generation"] == before["metadata"]["generation"]:
        return
    name, state = entry.obj["metadata"]["name"], before.get("status") or {}
    if (state.get("rollout") or {}).get("stage") == "Shadow":
        return
    for server in world.servers(name):
        if "shadow" in server["spec"]:
            yield f"ModelServer {server['metadata']['name']} still shadows for {name}"


def waves(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """In the first step of a rollout no more servers hold the candidate than it wants."""
    if entry.kind != "ModelServer":
        return
    name = entry.obj["spec"]["deployment"]
    owner = world.named("Deployment", name)
    state = ((owner or {}).get("status") or {}).get("rollout") or {}
    if owner is None or not state or state.get("step", 0) > 1:
        return
    if held(owner, "candidate") == held(owner, "stable"):
        return  # New pods of the same version: nothing is assigned.
    on = [
        s["metadata"]["name"]
        for s in world.servers(name)
        if s["spec"]["assigned"]["modelVersion"] == held(owner, "candidate")
    ]
    want = state["target"] if state["stage"] == "Step" else 0
    if len(on) > want:
        yield f"{len(on)} servers of Deployment {name} were told to switch, the wave has {want}"


def rejected(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """What was rolled back is not tried again by itself."""
    if entry.kind != "Deployment" or not before:
        return
    old, new = before.get("status") or {}, entry.obj.get("status") or {}
    refused = (old.get("rejected") or {}).get("modelVersion")
    asked = (entry.obj["metadata"].get("annotations") or {}).get(RETRY)
    if refused and held(entry.obj, "candidate") == refused and not asked:
        yield f"Deployment {entry.obj['metadata']['name']} tries {refused} again"
    if (new.get("revision") or 0) < (old.get("revision") or 0):
        yield f"Deployment {entry.obj['metadata']['name']} lost count of its rollouts"
