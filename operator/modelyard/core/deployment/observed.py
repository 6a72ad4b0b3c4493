"""What a Deployment's decision looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.conditions import is_true
from modelyard.core.deployment import names
from modelyard.core.jobs import pod_trouble
from modelyard.core.plan import Manifest, View
from modelyard.core.settings import Settings
from modelyard.core.specs import OfSpec


@dataclass(frozen=True)
class ServerState:
    """A serving pod and its ModelServer."""

    name: str
    pod: Manifest
    model_server: Manifest | None

    @property
    def ready(self) -> bool:
        return is_true(self.pod, "Ready")

    @property
    def trouble(self) -> tuple[str, str] | None:
        return pod_trouble(self.pod)

    @property
    def assigned(self) -> Manifest | None:
        return self.model_server["spec"]["assigned"] if self.model_server else None

    @property
    def loaded(self) -> Manifest | None:
        return meta.status(self.model_server).get("loaded") if self.model_server else None

    @property
    def load_failure(self) -> str | None:
        """Why the assigned version could not be loaded, if the agent said so of this very
        assignment."""
        if self.model_server is None:
            return None
        status = meta.status(self.model_server)
        current = status.get("observedGeneration") == meta.generation(self.model_server)
        if current and status.get("phase") == "Failed":
            return str(status.get("message") or "no reason given")
        return None

    def holds(self, assignment: Manifest) -> bool:
        """Whether requests are answered by this assignment's version and settings."""
        loaded = self.loaded
        if loaded is None:
            return False
        same = all(loaded.get(k) == assignment[k] for k in ("modelVersion", "version", "digest"))
        return same and loaded.get("pipeline") == assignment.get("pipeline")


@dataclass(frozen=True)
class Observed:
    """A Deployment with the versions of its line and its servers."""

    obj: Manifest
    spec: DeploymentSpec
    settings: Settings
    versions: dict[int, Manifest]
    """ModelVersions of the line by number."""
    workload: Manifest | None
    servers: tuple[ServerState, ...]
    """Sorted by name; pods that are going away are left out."""
    orphans: tuple[Manifest, ...]
    """ModelServers whose pod is gone."""

    @property
    def pipeline(self) -> dict[str, Any]:
        return self.spec.pipeline.model_dump(mode="json", by_alias=True)

    @property
    def replicas(self) -> int:
        cluster = self.spec.target.cluster
        return cluster.replicas if cluster else 0


@OfSpec
def _spec(spec: Any) -> DeploymentSpec:
    return DeploymentSpec.model_validate(spec, extra="ignore")


def observe(view: View, obj: Manifest, settings: Settings) -> Observed:
    """Gathers it from the cache. Raises pydantic.ValidationError for a spec that the schema
    should have refused."""
    spec = _spec(obj)
    space, own = meta.namespace(obj), meta.uid(obj)
    versions = {
        int(v["spec"]["version"]): v
        for v in view.select("ModelVersion", space, "model-line", spec.model_line)
        if not meta.deleting(v)
    }
    pods = {
        meta.name(p): p
        for p in view.children(own, "Pod")
        if not meta.deleting(p)
        and (p["metadata"].get("labels") or {}).get(labels.COMPONENT) == "server"
        and (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    }
    model_servers = {meta.name(m): m for m in view.children(own, "ModelServer")}
    return Observed(
        obj=obj,
        spec=spec,
        settings=settings,
        versions=versions,
        workload=view.get("apps/Deployment", space, names.workload_name(obj)),
        servers=tuple(
            ServerState(name, pod, model_servers.get(name)) for name, pod in sorted(pods.items())
        ),
        orphans=tuple(
            m for n, m in sorted(model_servers.items()) if n not in pods and not meta.deleting(m)
        ),
    )
