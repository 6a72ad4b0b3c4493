"""All objects as they were at one moment, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .journal import Entry, Object


class World:
    """All objects as they were at one moment."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[str, Object]] = {}
        """By UID: kind and object."""
        self.seen: set[tuple[str, str]] = set()
        """Kinds and names of all objects that ever were, of the kinds that are made once."""
        self.ready: dict[str, set[str]] = {}
        """Names of ModelVersions that were ever Ready, with the digests of all artifacts that they
        had then."""

    def take(self, entry: Entry) -> Object:
        """Let a change happen; returns the object as it was before, empty if it is new."""
        uid = entry.obj["metadata"]["uid"]
        before = self._objects.get(uid, ("", {}))[1]
        if entry.type == "DELETED":
            self._objects.pop(uid, None)
            return before
        self._objects[uid] = (entry.kind, entry.obj)
        if entry.kind == "ModelVersion" and phase(entry.obj) == "Ready":
            digests = {one["digest"] for one in entry.obj["status"].get("artifacts") or ()}
            self.ready.setdefault(entry.obj["metadata"]["name"], set()).update(digests)
        return before

    def all(self, kind: str) -> list[Object]:
        """Objects of a kind."""
        return [obj for found, obj in self._objects.values() if found == kind]

    def named(self, kind: str, name: str) -> Object | None:
        """An object, or None."""
        return next((o for o in self.all(kind) if o["metadata"]["name"] == name), None)

    def servers(self, deployment: str) -> list[Object]:
        """A Deployment's ModelServers."""
        return [s for s in self.all("ModelServer") if s["spec"]["deployment"] == deployment]


def phase(obj: Object | None) -> str | None:
    """An object's phase."""
    return ((obj or {}).get("status") or {}).get("phase")


def held(deployment: Object | None, field: str) -> str | None:
    """Name of the version that a Deployment's status gives as stable or candidate."""
    status = (deployment or {}).get("status") or {}
    found: str | None = (status.get(field) or {}).get("modelVersion")
    return found


def assignments(server: Object) -> Mapping[str, Any]:
    """The versions in a ModelServer's spec, by field."""
    spec = server["spec"]
    shadow = (spec.get("shadow") or {}).get("version")
    found = {"assigned": spec["assigned"], "staged": spec.get("staged"), "shadowing": shadow}
    return {part: version for part, version in found.items() if version}
