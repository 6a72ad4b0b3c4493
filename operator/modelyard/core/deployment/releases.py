"""A release: a version with its pipeline settings, and which of its artifacts fits which node.

A ModelVersion has an artifact for each kind of hardware; a release is what all servers of a
Deployment hold together, and is compared by content and pipeline settings, not by name. Which one
is wanted: desired_release.py; which ones the status names: current_release.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modelyard.api.rolloutstatus import ServedVersion
from modelyard.core import meta
from modelyard.core.fleet.projections import content_digest, content_of, release_key
from modelyard.core.plan import KubeObject

_FIELDS = ("modelVersion", "version", "artifact", "format", "digest", "manifestDigest")


@dataclass(frozen=True)
class Release:
    """What servers are to hold."""

    served: ServedVersion
    """As the status names it."""
    artifacts: tuple[KubeObject, ...] = ()
    """All artifacts of the version that are known; empty if `served` names the only one."""

    @property
    def name(self) -> str:
        """Name of the ModelVersion."""
        return self.served.model_version

    @property
    def version(self) -> int:
        """Number of the release's version."""
        return self.served.version

    @property
    def pipeline(self) -> Mapping[str, Any]:
        """The release's pipeline."""
        return self._wire.get("pipeline") or {}

    @property
    def template(self) -> str:
        """Hash of the serving pods' template (edge)."""
        return self.served.template or ""

    @cached_property
    def key(self) -> str:
        """Compares what servers hold; see release_key."""
        return release_key(self.name, self.content, self.pipeline)

    @cached_property
    def content(self) -> str:
        """Digest of the version's content; see content_digest."""
        return content_of(self._wire)

    @property
    def short_digest(self) -> str:
        """The beginning of the digest of the artifact that `served` names, for people."""
        return f"{self.served.digest[:19]}…"

    def same(self, other: Release | None) -> bool:
        """Whether nothing would change for a server."""
        if other is None:
            return False
        return (self.key, self.template) == (other.key, other.template)

    def in_pods_of(self, template: str) -> Release:
        """The same in pods made from another template."""
        if not template:
            return self
        return Release(self.served.but(template=template), self.artifacts)

    def fits(self, product: str) -> bool:
        """Whether there is an artifact for nodes with this GPU type (empty: none)."""
        return self._fitting(product) is not None

    def assignment(self, product: str = "") -> dict[str, Any]:
        """An api.modelserver.Assignment for a node with this GPU type; where nothing fits, what
        `served` names."""
        chosen = self._fitting(product) or self._wire
        # One profile for all artifacts: they answer the same, within the gate `parity`.
        profile = self.served.profile_digest
        return {
            **{k: chosen[k] for k in _FIELDS},
            "contentDigest": self.content,
            **({"profileDigest": profile} if profile else {}),
            "pipeline": dict(self.pipeline),
        }

    @cached_property
    def _wire(self) -> Mapping[str, Any]:
        return self.served.wire()

    def _fitting(self, product: str) -> Mapping[str, Any] | None:
        if not self.artifacts:
            return self._wire
        found = choose(self.artifacts, product)
        if found is None:
            return None
        return {"modelVersion": self.name, "version": self.version, **found}


def choose(artifacts: tuple[KubeObject, ...], product: str) -> dict[str, Any] | None:
    """The artifact for a GPU type: its own engine, else the portable one, else None."""
    engines = [a for a in artifacts if product and a.get("gpuProduct") == product]
    portable = [a for a in artifacts if a["format"] == "onnx"]
    fitting = next(iter((*engines, *portable)), None)
    if fitting is None:
        return None
    return {
        "artifact": fitting["name"],
        "format": fitting["format"],
        "digest": fitting["digest"],
        "manifestDigest": fitting["manifestDigest"],
    }


def release_of(
    version: KubeObject, pipeline: Mapping[str, Any], *, product: str, template: str
) -> Release | None:
    """The release of a Ready ModelVersion, `template` given for an edge fleet. None if no artifact
    fits `product`, or, on the edge, if there is no artifact at all."""
    artifacts = tuple(meta.status(version).get("artifacts") or ())
    shown = choose(artifacts, product)
    if shown is None and template and artifacts:
        # An edge fleet: every node chooses for itself; one is named for people.
        shown = choose(artifacts, str(artifacts[0].get("gpuProduct") or ""))
    if shown is None:
        return None
    named = {
        "modelVersion": meta.name(version),
        "version": int(version["spec"]["version"]),
        **shown,
        "contentDigest": content_digest(artifacts),
        "pipeline": dict(pipeline),
    }
    profile = meta.status(version).get("profile")
    if profile:
        named["profileDigest"] = profile["summaryDigest"]
    if template:
        named["template"] = template
    return Release(ServedVersion.model_validate(named), artifacts)


def titles(one: Release, other: Release) -> tuple[str, str]:
    """What two releases are called beside each other: the digests come along where one is the
    other's ModelVersion, made again with other content."""
    if one.name != other.name or one.content == other.content:
        return one.name, other.name
    return f"{one.name} ({one.short_digest})", f"{other.name} ({other.short_digest})"
