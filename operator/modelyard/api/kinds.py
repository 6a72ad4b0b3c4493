"""Our kinds, in the order of the chain from data to servers.

This list is the one place where a kind is registered; what follows from it: see registration.py.
"""

from __future__ import annotations

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
