"""What is compared: who makes a child of each object, and how it is started and stopped.

Only the arm that is measured has a process running. Stopping the others (SIGSTOP) instead would
leave their watches open, and the API server would fill and then cut them.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

from modelyard.kube.kinds import KubeKind, by_name

from .api import SPACE, Manifest
from .site import MANAGER, Site

JOB, POD = by_name("Job"), by_name("Pod")
_GIVEN_BY_SERVER = (
    "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid",
    "job-name",
)  # fmt: skip


class Arm(ABC):
    """One contender on a site."""

    name: str
    """Word for samples and ratios."""
    label: str
    """What the tables call it."""
    owner: KubeKind
    """What the harness creates."""
    child: KubeKind | None
    """What the arm makes of it; its controller owner reference names the owner. None: the
    created object itself is what is counted."""
    lives = True
    """Whether its objects can be brought to their end."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @abstractmethod
    def manifest(self, name: str, number: int) -> Manifest:
        """The object that the harness creates."""

    async def start(self, objects: int) -> None:  # noqa: B027 - an arm may have nothing to start
        """Prepares an empty namespace for so many objects and starts the controllers."""

    def stop(self) -> None:  # noqa: B027
        """Stops the controllers."""

    @property
    def pid(self) -> int | None:
        """The controllers' process; None if there is none."""
        return None

    def finished(self, obj: Manifest) -> bool:
        """Whether an owner says that its work has succeeded."""
        return has_condition(obj, "Complete")


class RawCreates(Arm):
    """The ceiling: creates of Jobs, and nobody who does anything about them."""

    name, label = "raw", "raw creates of Jobs"
    owner, child, lives = JOB, None, False

    def __init__(self, site: Site, job: Manifest) -> None:
        super().__init__(site)
        self._job = job

    def manifest(self, name: str, number: int) -> Manifest:
        return named(self._job, name)


class JobController(Arm):
    """kube-controller-manager's Job controller: Job → Pod."""

    name, label = "kcm", "kube-controller-manager, Job → Pod"
    owner, child = JOB, POD

    def __init__(self, site: Site, job: Manifest) -> None:
        super().__init__(site)
        self._job = job

    def manifest(self, name: str, number: int) -> Manifest:
        return named(self._job, name)

    async def start(self, objects: int) -> None:
        self.site.plane.start()

    def stop(self) -> None:
        self.site.plane.processes.stop([MANAGER], grace=5)

    @property
    def pid(self) -> int:
        running = self.site.plane.processes.running(MANAGER)
        assert running is not None, self.site.plane.processes.last_words(MANAGER)
        return running.pid


def job_template(job: Manifest) -> Manifest:
    """What was sent to make this Job, so that others can be made with the same size."""
    made = copy.deepcopy(job)
    metadata = made["metadata"]
    keep = ("labels", "annotations", "ownerReferences")
    made["metadata"] = {key: metadata[key] for key in keep if key in metadata}
    made.pop("status", None)
    made["spec"].pop("selector", None)
    labels = made["spec"]["template"]["metadata"].get("labels") or {}
    for name in _GIVEN_BY_SERVER:
        labels.pop(name, None)
    return {**made, "apiVersion": "batch/v1", "kind": "Job"}


def named(template: Manifest, name: str) -> Manifest:
    """A copy of a template, shallow but for its metadata."""
    metadata = {**template["metadata"], "name": name, "namespace": SPACE}
    return {**template, "metadata": metadata}


def has_condition(obj: Manifest, kind: str) -> bool:
    """Whether a condition is True."""
    conditions: list[dict[str, Any]] = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def owner_name(metadata: dict[str, Any]) -> str | None:
    """Name in the controller owner reference, or None."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["name"])
    return None
