"""The releases that a Deployment's status names."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release, release_of
from modelyard.core.plan import KubeObject


def stable(observed: Observed, template: str) -> Release | None:
    """What serves; `template` is the hash of edge pods' template. None if nothing ever has."""
    served = observed.recorded.stable
    if not served:
        return None
    # An object of an operator that did not note the pipeline yet.
    if not served.get("pipeline"):
        served = {**served, "pipeline": observed.pipeline}
    if template and not served.get("template"):
        served = {**served, "template": template}
    return named(observed, served)


def named(observed: Observed, served: KubeObject) -> Release:
    """A release that the status names."""
    version = observed.versions.get(int(served["version"]))
    if version is not None and meta.name(version) == served["modelVersion"]:
        found = release_of(
            version,
            served.get("pipeline") or {},
            product=observed.product,
            template=str(served.get("template") or ""),
        )
        if found is not None:
            return Release(served, found.artifacts)
    return Release(served)
