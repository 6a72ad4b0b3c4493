"""Whose child an object is: the one answer for the cache, aggregates, routing and decisions.

Names, UIDs, labels and annotations are public, and whoever may create pods can write them. So none
of them makes an object a child. What does:

    direct child     Job, Service, ModelServer, …: its controller, the ownerReference with
                     `controller: true`, is our object, by UID and in the same namespace.
    pod of a Job     its controller is such a Job.
    server's pod     its controller is the DaemonSet of our Deployment, or a ReplicaSet of its apps
                     Deployment: in the same namespace, named as their controllers name them.

A reference says who controls an object, not who wrote the reference. That nobody but Kubernetes'
controllers and the operator writes such objects is up to the API server: the chart's policies
`children` and `exec` (charts/modelyard/templates/admission).
"""

from __future__ import annotations

from typing import NamedTuple

from modelyard.api.base import GROUP
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.naming import child_name
from modelyard.core.plan import KubeObject

SERVER = "server"
"""Component of serving pods."""
POD_TEMPLATE_HASH = "pod-template-hash"
"""Label that the controller of apps Deployments gives a ReplicaSet and its pods; it ends the
ReplicaSet's name."""


class Controller(NamedTuple):
    """Who controls an object: its ownerReference with `controller: true`."""

    group: str
    kind: str
    name: str
    uid: str


class Place(NamedTuple):
    """Identifies an owner: a UID alone could be claimed from another namespace."""

    namespace: str
    uid: str


class FleetKey(NamedTuple):
    """Identifies a Modelyard Deployment whose server something is."""

    namespace: str
    name: str
    uid: str


def controller(obj: KubeObject) -> Controller | None:
    """An object's controller; None without one. The API server accepts one at most."""
    for one in obj["metadata"].get("ownerReferences") or ():
        if one.get("controller") is True:
            group = str(one.get("apiVersion", "")).rpartition("/")[0]
            return Controller(group, str(one.get("kind")), str(one.get("name")), str(one["uid"]))
    return None


def place(owner: KubeObject) -> Place:
    """Where the children of an object point to."""
    return Place(owner["metadata"].get("namespace", ""), meta.uid(owner))


def owner_place(obj: KubeObject) -> Place | None:
    """The owner that an object points to; None without a controller."""
    found = controller(obj)
    return found and Place(obj["metadata"].get("namespace", ""), found.uid)


def owns(owner: KubeObject, obj: KubeObject) -> bool:
    """Whether an object is a child of another."""
    return owner_place(obj) == place(owner)


def owned(owner: KubeObject, found: KubeObject | None) -> KubeObject | None:
    """An object that was found by its name, if it is a child of `owner`."""
    return found if found is not None and owns(owner, found) else None


def parent(obj: KubeObject) -> tuple[str, str] | None:
    """Kind and name of our object that a child, or a pod of a child, works for; it is in the same
    namespace. None for anything else.

    Of a pod, the annotation says so: a wrong one wakes a decision, which then does not find it.
    """
    found = controller(obj)
    if found is None:
        return None
    if found.group == GROUP:
        return found.kind, found.name
    kind, _, name = (meta.annotation(obj, labels.OWNER) or "").partition("/")
    return (kind, name) if name else None


def fleet_of(obj: KubeObject) -> FleetKey | None:
    """The Modelyard Deployment whose server a pod or ModelServer is; None for anything else.

    The key has all that a pod claims, and its controller's name must follow from it: with a false
    claim it names a fleet that no Deployment reads.
    """
    found, carried = controller(obj), obj["metadata"].get("labels") or {}
    namespace = obj["metadata"].get("namespace", "")
    if found is None:
        return None
    if found.group == GROUP:
        return FleetKey(namespace, found.name, found.uid) if found.kind == "Deployment" else None
    kind, _, name = (meta.annotation(obj, labels.OWNER) or "").partition("/")
    uid = carried.get(labels.OWNER_UID)
    if carried.get(labels.COMPONENT) != SERVER or kind != "Deployment" or not name or not uid:
        return None
    workload = child_name(name)
    makers = {
        ("apps", "DaemonSet", workload),
        ("apps", "ReplicaSet", f"{workload}-{carried.get(POD_TEMPLATE_HASH)}"),
    }
    return FleetKey(namespace, name, str(uid)) if found[:3] in makers else None


def fleet_key(deployment: KubeObject) -> FleetKey:
    """The fleet of a Modelyard Deployment."""
    return FleetKey(meta.namespace(deployment), meta.name(deployment), meta.uid(deployment))
