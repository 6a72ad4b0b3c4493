"""Our kinds, in the order of the chain from data to servers.

This list is the one place where a kind is registered; what follows from it: see registration.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.api import dataset, deployment, modelserver, modelversion, trainingjob
from modelyard.api.registration import KindInfo

ALL_KINDS: tuple[KindInfo, ...] = (
    dataset.KIND,
    trainingjob.KIND,
    modelversion.KIND,
    deployment.KIND,
    modelserver.KIND,
)


def kind_info(kind: str) -> KindInfo:
    """The KindInfo of a kind's name. Raises KeyError for a name that is not ours."""
    for info in ALL_KINDS:
        if info.kind == kind:
            return info
    raise KeyError(kind)


def default_resources(kinds: Iterable[KindInfo] | None = None) -> dict[str, dict[str, str]]:
    """Default CPU and memory of the pods of all kinds, or of some, by component.

    Raises ValueError for a component that two kinds have.
    """
    found: dict[str, dict[str, str]] = {}
    for info in ALL_KINDS if kinds is None else kinds:
        for name, resources in info.components.items():
            if name in found:
                raise ValueError(f"{info.kind}: component {name} is another kind's, too")
            found[name] = dict(resources)
    return found
