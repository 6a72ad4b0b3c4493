"""Checks on children before they are written: labels that the watch selects, and the owner."""

from __future__ import annotations

from modelyard.contract.labels import MANAGED_BY, MANAGER
from modelyard.core import ownership
from modelyard.core.plan import KubeObject
from modelyard.kube import kinds
from modelyard.kube.kinds import KubeKind
from modelyard.runtime.failures import NameTaken


def place(manifest: KubeObject) -> tuple[str, str]:
    """Namespace and name."""
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def child_kind(manifest: KubeObject) -> KubeKind:
    """The kind of a child. Raises ValueError if its kind's watch would not select it."""
    kind = kinds.of(manifest)
    if not is_watched(kind, manifest):
        raise ValueError(
            f"{kind.kind} {manifest['metadata']['name']} lacks the label {MANAGED_BY}={MANAGER}: "
            "the operator would never see it"
        )
    return kind


def is_watched(kind: KubeKind, obj: KubeObject) -> bool:
    """Whether the watch of a kind shows an object."""
    labels = obj["metadata"].get("labels") or {}
    return kind.selector is None or labels.get(MANAGED_BY) == MANAGER


def check_owner(manifest: KubeObject, live: KubeObject, kind: KubeKind) -> None:
    """Raises NameTaken if an existing object belongs to another owner."""
    wanted, found = ownership.controller(manifest), ownership.controller(live)
    if wanted is None:
        return  # Fields of an object of others, such as a pod's label, named by its UID.
    if found is not None and found.uid == wanted.uid and is_watched(kind, live):
        return
    namespace, name = place(manifest)
    owner = f"{found.kind} {found.name} ({found.uid})" if found else "somebody else"
    raise NameTaken(
        f"{kind.kind} {namespace}/{name} exists and belongs to {owner}; delete or rename it"
    )
