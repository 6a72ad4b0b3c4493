"""Whether a namespace has what workloads need."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.plan import KubeObject
from modelyard.core.policy import Verdict
from modelyard.core.settings import Settings


def namespace_verdict(obj: KubeObject, settings: Settings) -> Verdict | None:
    """Objects outside the prepared namespaces wait: their pods would lack service accounts and
    the store's Secret."""
    own = meta.namespace(obj)
    if not settings.namespaces or own in settings.namespaces:
        return None
    return Verdict(
        "NamespaceNotPrepared",
        f"namespace {own} is not prepared for workloads: add it to the chart's value "
        "workloads.namespaces and upgrade the release",
        stalled=True,
    )
