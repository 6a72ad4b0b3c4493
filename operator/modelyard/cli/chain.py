"""The chain as a tree: Dataset → TrainingJob → ModelVersion → Deployment → ModelServer.

Pure: objects as the API server returns them become nodes with a phase and figures. The parent of an
object follows from its kind's registration (`uses` with `parent`, api/registration.py); a kind
without an entry in `_FIGURES` shows its printer columns. `status.py` reads the objects and prints
the tree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.api import ALL_KINDS, KindInfo, kind_info
from modelyard.api.registration import fill, read
from modelyard.cli.kube import Object, name, status
from modelyard.cli.rolloutstages import PAUSED, stages


@dataclass
class Node:
    """One object of the chain, with its children."""

    kind: str
    namespace: str
    name: str
    phase: str
    figures: str
    """The most important figures of the kind, in one line."""
    message: str
    """The object's status.message."""
    children: list[Node] = field(default_factory=list)
    hidden: int = 0
    """Number of children that are not listed."""

    def as_json(self) -> dict[str, Any]:
        """The node and all below it as JSON types."""
        return asdict(self)

    def walk(self) -> Iterable[Node]:
        """The node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


Objects = Mapping[str, Iterable[Object]]
_Id = tuple[str, str, str]


def build(objects: Objects) -> list[Node]:
    """Builds the trees from objects by kind. An object whose parent does not exist is a root."""
    everything = [
        (kind, one)
        for kind in (info.kind for info in ALL_KINDS)
        for one in sorted(objects.get(kind, ()), key=lambda o: _order(kind, o))
    ]
    nodes = {_id(kind, one): _node(kind, one) for kind, one in everything}
    children: dict[_Id, list[_Id]] = defaultdict(list)
    roots: list[_Id] = []
    for kind, one in everything:
        parents = [p for p in _parents(kind, one) if p in nodes]
        (children[parents[0]] if parents else roots).append(_id(kind, one))
    for parent, ids in children.items():
        nodes[parent].children = [nodes[one] for one in ids]
    for one in objects.get("Deployment", ()):
        node = nodes[_id("Deployment", one)]
        listed = sum(kind_info(child.kind).numerous for child in node.children)
        node.hidden = max(0, int(status(one).get("replicas") or 0) - listed)
    return [nodes[one] for one in roots]


def filter_by_name(trees: Iterable[Node], wanted: str) -> list[Node]:
    """The trees, reduced to the objects named `wanted` with their ancestors and descendants."""
    kept = []
    for node in trees:
        if node.name == wanted:
            kept.append(node)
            continue
        below = filter_by_name(node.children, wanted)
        if below:
            node.children = below
            kept.append(node)
    return kept


def _order(kind: str, obj: Object) -> tuple[str, int, str, str]:
    version = obj["spec"].get("version") if kind == "ModelVersion" else 0
    line = obj["spec"].get("modelLine", "") if kind == "ModelVersion" else ""
    created = obj["metadata"].get("creationTimestamp") or ""
    return line, version or 0, created, name(obj)


def _id(kind: str, obj: Object) -> _Id:
    return kind, obj["metadata"].get("namespace", ""), name(obj)


def _parents(kind: str, obj: Object) -> list[_Id]:
    """Possible parents of the object, in order of preference."""
    namespace = obj["metadata"].get("namespace", "")
    return [
        (use.kind, namespace, one)
        for use in kind_info(kind).uses
        if use.parent
        for one in fill(use.name, obj)
    ]


def _node(kind: str, obj: Object) -> Node:
    found = status(obj)
    return Node(
        kind=kind,
        namespace=obj["metadata"].get("namespace", ""),
        name=name(obj),
        phase=str(found.get("phase") or "Unknown"),
        figures=", ".join(part for part in _figures(kind, obj) if part),
        message=str(found.get("message") or ""),
    )


def _figures(kind: str, obj: Object) -> list[str]:
    own = _FIGURES.get(kind)
    return own(obj["spec"], status(obj)) if own else _columns(kind_info(kind), obj)


def _columns(info: KindInfo, obj: Object) -> list[str]:
    """The kind's printer columns, without those that the tree shows anyway."""
    shown = {".status.phase", ".status.message", ".metadata.creationTimestamp"}
    return [
        f"{title} {value}"
        for title, _, path in info.columns
        if title not in info.wide and path not in shown
        for value in read(path, obj)
    ]


def _dataset(spec: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        _count(found.get("images"), "image"),
        _count(found.get("classCount"), "class", "classes"),
        _short(found.get("digest")),
    ]


def _training(spec: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    model = spec.get("model") or f"from {_get(spec, 'baseVersion', 'name')}"
    progress = found.get("progress") or {}
    if found.get("metrics"):
        return [model, _metrics(found["metrics"])]
    parts = [model]
    if progress.get("epochs"):
        parts.append(f"epoch {progress.get('epoch') or 0} of {progress['epochs']}")
    if found.get("phase") == "Running" and progress.get("remainingSeconds") is not None:
        parts.append(f"{_time(progress['remainingSeconds'])} left")
    return [*parts, _metrics(progress.get("metrics") or {})]


def _version(spec: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    missed = [
        f"{gate['gate']} {gate['actual']:.3f} of {gate['artifact']}, "
        f"{'at most' if gate['gate'] == 'parity' else 'at least'} {gate['required']:g} wanted"
        for gate in found.get("gates") or []
        if not gate.get("passed")
    ]
    formats = [f"{a['name']} {_short(a['digest'])}" for a in found.get("artifacts") or []]
    skipped = "not evaluated" if _get(spec, "evaluation", "skip") else ""
    return [skipped or _metrics(found), *formats, *missed]


def _deployment(spec: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    parts = []
    stable, candidate = _get(found, "stable", "version"), _get(found, "candidate", "version")
    if stable:
        parts.append(f"version {stable}")
    if candidate and candidate != stable:
        updated, replicas = found.get("updatedReplicas") or 0, found.get("replicas") or 0
        parts.append(f"version {candidate} on {updated:,} of {replicas:,}")
    stage = next((s for s in stages(spec, found.get("rollout") or {}) if s.since), None)
    if stage:
        paused = "paused at " if stage.state == PAUSED else ""
        parts.append(f"{paused}{stage.title} {stage.done:,}/{stage.target:,}")
    wanted = _get(spec, "target", "cluster", "replicas")
    if _get(spec, "target", "edge"):
        wanted = found.get("replicas") or 0
    parts.append(f"{found.get('readyReplicas') or 0:,}/{1 if wanted is None else wanted:,} ready")
    for key, word in (("offlineReplicas", "offline"), ("failedReplicas", "failed")):
        if found.get(key):
            parts.append(f"{found[key]:,} {word}")
    return [*parts, _drift(found), str(found.get("url") or "")]


def _drift(found: Mapping[str, Any]) -> str:
    """What the condition Drifting says, where there is one that says more than no."""
    conditions = {cond.get("type"): cond for cond in found.get("conditions") or ()}
    drifting = conditions.get("Drifting", {})
    if drifting.get("status") == "Unknown":
        return f"drift unknown ({drifting.get('reason')})"
    if drifting.get("status") != "True":
        return ""
    monitoring = found.get("monitoring") or {}
    counts, signal = monitoring.get("drift") or {}, _get(monitoring, "episode", "signal")
    where = f" in {signal}" if signal else ""
    return f"drifts{where} on {counts.get('drifting') or 0:,}/{counts.get('baseline') or 0:,}"


def _server(spec: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    loaded, assigned = _get(found, "loaded", "version"), _get(spec, "assigned", "version")
    parts = [f"version {loaded}" if loaded else "no version yet"]
    if assigned and assigned != loaded:
        parts.append(f"{assigned} wanted")
    traffic = found.get("traffic") or {}
    parts.append(_count(traffic.get("requests"), "request"))
    if traffic.get("failures"):
        parts.append(f"{traffic['failures']:,} failed")
    if traffic.get("meanMilliseconds") is not None:
        parts.append(f"{traffic['meanMilliseconds']:.1f} ms")
    if _get(found, "drift", "state") == "Drifting":
        parts.append("drifts")
    return [*parts, f"on {spec['nodeName']}" if spec.get("nodeName") else ""]


_FIGURES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]] = {
    "Dataset": _dataset,
    "TrainingJob": _training,
    "ModelVersion": _version,
    "Deployment": _deployment,
    "ModelServer": _server,
}


def _get(at: Any, *path: str) -> Any:
    for key in path:
        at = at.get(key) if isinstance(at, Mapping) else None
    return at


def _metrics(values: Mapping[str, Any]) -> str:
    shown = (("mAP50", "mAP50"), ("mAP50to95", "mAP50-95"))
    return ", ".join(
        f"{label} {values[key]:.3f}" for key, label in shown if values.get(key) is not None
    )


def _count(number: Any, one: str, many: str | None = None) -> str:
    if number is None:
        return ""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _short(digest: Any) -> str:
    return str(digest)[: len("sha256:") + 12] if digest else ""


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
