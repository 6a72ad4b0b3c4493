"""The releases that a Deployment's status names.

The status says all that servers need, by digest: a ModelVersion that is gone, or was made again
under the same name, changes nothing of what is served. New servers get the digests in the status
(or, on other hardware, those of servers like them), whose files are still in the store.
"""

from __future__ import annotations

from modelyard.api.pipeline import Pipeline
from modelyard.api.rolloutstatus import ServedVersion
from modelyard.core import meta
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import first
from modelyard.core.fleet.projections import content_digest, key_of
from modelyard.core.plan import KubeObject


def stable(observed: Observed, template: str) -> Release | None:
    """What serves; `template` is the hash of edge pods' template. None if nothing ever has."""
    served = observed.recorded.stable
    if not served:
        return None
    # An object of an operator that did not note the pipeline yet.
    if not (served.pipeline and served.pipeline.model_fields_set):
        served = served.but(pipeline=Pipeline.model_validate(observed.pipeline))
    if template and not served.template:
        served = served.but(template=template)
    return named(observed, served)


def named(observed: Observed, served: ServedVersion) -> Release:
    """A release that the status names."""
    artifacts = _artifacts(_namesake(observed, served))
    if not served.content_digest:  # Of an operator that did not note contents yet.
        pairs = [(one["digest"], one["manifestDigest"]) for one in artifacts]
        if (served.digest, served.manifest_digest) in pairs:
            served = served.but(content_digest=content_digest(artifacts))
    release = Release(served)
    if artifacts and content_digest(artifacts) == release.content:
        return Release(served, artifacts)
    held = _held(observed, release.key)
    return Release(served, (_artifact(served.wire(), ""), *held) if held else ())


def _held(observed: Observed, key: str) -> tuple[KubeObject, ...]:
    """The artifacts of a release that servers are assigned, one for each hardware: all that is
    known of them, besides the one in the status, once the ModelVersion is gone."""
    fleet, found = observed.fleet, []
    groups = [group for group in fleet.groups if group.assigned == key]
    for product in sorted({group.product for group in groups}):
        (member,) = first(fleet, [group for group in groups if group.product == product], 1)
        assigned = (member.server.spec_field("assigned") if member.server else None) or {}
        if assigned and key_of(assigned) == key:
            found.append(_artifact(assigned, product))
    return tuple(found)


def _artifact(assigned: KubeObject, product: str) -> KubeObject:
    """The artifact that an assignment names, for a GPU type (empty: none, or not known)."""
    own = {name: assigned[name] for name in ("format", "digest", "manifestDigest")}
    return {"name": assigned["artifact"], "gpuProduct": product, **own}


def made_again(observed: Observed, release: Release) -> str:
    """Says that the ModelVersion of a release is another one now, of the same name; else empty."""
    version = _namesake(observed, release.served)
    if version is None:
        return ""
    artifacts = _artifacts(version)
    if artifacts and content_digest(artifacts) == release.content:
        return ""
    return (
        f"ModelVersion {release.name} was made again with other content: the servers go on with "
        f"{release.short_digest}"
    )


def _namesake(observed: Observed, served: ServedVersion) -> KubeObject | None:
    """The ModelVersion that bears a release's name."""
    version = observed.versions.get(served.version)
    same = version is not None and meta.name(version) == served.model_version
    return version if same else None


def _artifacts(version: KubeObject | None) -> tuple[KubeObject, ...]:
    return tuple(meta.status(version).get("artifacts") or ()) if version is not None else ()
