"""What the schemas do not say: whole specs to start from, examples of each pattern, and the leaves
that need values or a context of their own.

A new field needs an entry only if its values cannot be derived: a bounded number, an enumeration,
a flag, and a string whose pattern is in PATTERNS are covered by their schema alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.api import base, evaluation, monitoring, target
from modelyard.api.edge import NodeCache

from ...kinds import EXAMPLES
from .walking import OMITTED, Leaf, Values, derive

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER_DIGEST = "sha256:" + "f" * 64

LINE = "shelf"
"""Model line with a Ready version 1."""
LATER = "later"
"""Dataset that appears, Ready, only after all specs were changed."""
EDGE = "example.com"
"""Prefix of the labels of nodes: `edge`, which is true, and `site`."""
SITES = ("a", "b")
"""There is one node at each."""
CROWDED = "crowded"
"""Namespace whose quota admits no pod."""

ASSIGNED = {
    "modelVersion": f"{LINE}-1",
    "version": 1,
    "artifact": "onnx",
    "format": "onnx",
    "digest": DIGEST,
    "manifestDigest": DIGEST,
}
"""What a ModelServer may be told to serve, stage or shadow."""

SPECS: dict[str, dict[str, Any]] = EXAMPLES | {
    "Dataset": {"source": {"http": {"url": "https://data.example/shelf.zip"}}},
    "TrainingJob": {
        "model": "yolo11n.yaml",
        "dataset": {"name": LATER},
        "output": {"modelLine": "trained"},
    },
    "ModelVersion": {
        "modelLine": "made",
        "version": 1,
        "weights": {"digest": DIGEST},
        "dataset": {"name": "digits", "digest": DIGEST},
    },
    "Deployment": {"modelLine": LINE},
    "ModelServer": {
        "deployment": "none",
        "podName": "none-0",
        "modelLine": LINE,
        "assigned": ASSIGNED,
    },
}
"""A valid spec of each kind, from which a leaf's value is the only difference: the kind's example,
or one that fits to what the experiment prepares."""

NAMES = Values(
    valid=["other", "a.b-c.1"],
    boundary=["a", "a" * 253],
    invalid=["Other", "-a", "a-", "a..b", "a.-b", "a b", "a/b", "ä"],
)
ADDRESS = ["", "shelf.zip", "file:///etc/passwd", "https://a b", "https://a\u00a0b", "https://\n"]


def _pattern(annotated: Any) -> str:
    """The pattern of one of api.base's string types."""
    found: str = next(m.pattern for f in annotated.__metadata__
                      for m in getattr(f, "metadata", ())
                      if getattr(m, "pattern", None))  # fmt: skip
    return found


def _field_pattern(model: Any, name: str) -> str:
    """The pattern of a field that has one of its own."""
    found: str = next(m.pattern for m in model.model_fields[name].metadata
                      if getattr(m, "pattern", None))  # fmt: skip
    return found


PATTERNS: dict[str, Values] = {
    _pattern(base.ObjectName): NAMES,
    _pattern(base.LineName): Values(
        valid=["other"],
        boundary=["a", "0", "a" * 40, "a" * 20],
        invalid=["Other", "-a", "a-", "a.b", "a_b"],
    ),
    base.DIGEST_PATTERN: Values(
        valid=[OTHER_DIGEST],
        boundary=["sha256:" + "0" * 64],
        invalid=["sha256:abc", "md5:" + "0" * 64, DIGEST.upper(), DIGEST + "\n"],
    ),
    _pattern(base.Cpu): Values(
        valid=["2", "500m", "1.5"],
        boundary=["1m", "0.001", ".5", "9999", "9999999m"],
        invalid=["0", "0m", "", "2 ", "-1", "1Ki", "1k", "0.0001", "two", "1e3", "99999"],
    ),
    _pattern(base.Memory): Values(
        valid=["4Gi", "512Mi", "1.5G"],
        boundary=["1", "0.001Ti", "999999Ti", "9" * 18],
        invalid=["0", "0Gi", "4 Gi", "4gb", "4gi", "4K", "-1Gi", "500m", "9Ei", "1e9"],
    ),
    _pattern(base.LabelValue): Values(
        valid=["other", "NVIDIA-H100-80GB-HBM3"],
        boundary=["a", "a" * 63],
        invalid=["-a", "a-", "a b", "a/b", "ä"],
    ),
    _pattern(base.Duration): Values(
        valid=["4m", "1h30m", "500ms"],
        boundary=["0s", "99999h99999m99999s99999ms"],
        invalid=["", "5", "s", "1.5h", "5 m", "-1s", "1d", "1h 30m", "100000s"],
    ),
    _pattern(monitoring.LongDuration): Values(
        valid=["4m", "1h30m", "3d"],
        boundary=["0s", "99999d99999h99999m99999s"],
        invalid=["", "5", "d", "1.5h", "5 m", "-1s", "1w", "500ms", "1h 30m", "100000s"],
    ),
    _pattern(monitoring.Rate): Values(
        valid=["10/day", "2/hour"],
        boundary=["0/day", "99999999/day"],
        invalid=["", "5", "/day", "1.5/day", "-1/day", "1/week", "01/day", "100000000/day"],
    ),
    _field_pattern(monitoring.FleetDrift, "min_share"): Values(
        valid=["5%", "0.5%"],
        boundary=["0%", "100%", "99.99%"],
        invalid=["", "5", "-1%", "101%", "1.234%", "%", " 1%", "1 %"],
    ),
    _field_pattern(monitoring.Source, "parameter"): Values(
        valid=["camera"], boundary=["a", "A" * 64], invalid=["", "a b", "a/b", "ä", "a\n"]
    ),
    _field_pattern(monitoring.ServerCapture, "on_demand"): Values(
        valid=["10/a1"], boundary=["1/0", "9999/zzzzzzzzzzzzzzzz"], invalid=["", "0/a", "10", "1/A"]
    ),
    _field_pattern(monitoring.ServerMonitoring, "accepted"): Values(
        valid=["all@2026-11-28T12:00:00Z"],
        boundary=["a", "+" * 64],
        invalid=["", "a b", "a/b", "ä", "a\n"],
    ),
    base.IMAGE_PATTERN: Values(
        valid=["registry.example:5000/team/server:2@" + DIGEST],
        boundary=["a", "a" * 512],
        invalid=["", "a b", " a", "a\n", "a\u00a0b", "ä"],
    ),
    evaluation.REASON_PATTERN: Values(
        valid=["pretrained on COCO, to be tried"],
        boundary=["a", "ä" * 256],
        invalid=["", " ", "a\nb", "a\u0000"],
    ),
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": Values(
        valid=["other"], boundary=["abc", "a" * 63], invalid=["ab", "A" * 4, "-ab", "a/b"]
    ),
    r"^https?://[!-.0-~]+/?$": Values(
        valid=["http://store.example:9000", "https://s3.example/"],
        boundary=["http://a", "https://" + "a" * 504],
        invalid=[*ADDRESS, "https://a/b"],
    ),
    r"^https?://[!-~]+$": Values(
        valid=["http://other.example/a.tar.gz?x=1&y=%20"],
        boundary=["http://a", "https://" + "a" * 2040],
        invalid=ADDRESS,
    ),
    r"^(https?://[!-~]+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]+)$": Values(
        valid=["s3://bucket/best.pt", "s3://bucket/camera #3/100%.pt"],
        boundary=["http://a", "https://" + "a" * 2040],
        invalid=[*ADDRESS, "s3://bucket", "s3://bucket/"],
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": Values(
        valid=["eu-central-1"], boundary=["a", "a" * 64], invalid=["", "-a", "a b", "a/b"]
    ),
    r"^[^\x00-\x1f\x7f]+$": Values(
        valid=["other/", "Räume/große Bilder.zip"],
        boundary=["a", "a" * 1024],
        invalid=["", "a\nb", "a\u0000"],
    ),
    r"^[^\x00-\x1f\x7f]*$": Values(
        valid=["other", "/abs/ä"], boundary=["", "a" * 1024], invalid=["a\nb", "a\u0000"]
    ),
    r"^[^/\x00-\x20\x7f][^\x00-\x1f\x7f]*\.ya?ml$": Values(
        valid=["sub/ä b.yml", "\u00a0.yaml"],
        boundary=["a.yml", "a" * 507 + ".yaml"],
        invalid=["", "/data.yaml", " a.yaml", "data.json", "data.yaml\n", "a\nb.yaml"],
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pt|yaml)$": Values(
        valid=["yolo26s.pt", "yolo11s.yaml"],
        boundary=["a.pt", "a" * 125 + ".pt"],
        invalid=[
            "../x.pt",
            "yolo11n",
            "yolo11n.onnx",
            ".pt",
            "a/b.pt",
            "rtdetr-l.pt",
            "yolo11n-seg.yaml",
        ],
    ),
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": Values(
        valid=["other"], boundary=["a", "a" * 20], invalid=["", "Other", "-a", "a-", "a.b"]
    ),
    _field_pattern(NodeCache, "host_path"): Values(
        valid=["/var/lib/modelyard", "/mnt/.cache/a..b"],
        boundary=["/a", "/" + "a" * 511],
        invalid=["", "/", "a/b", "/a/", "/a//b", "/a b", "/ä", "/a/../b", "/..", "/a/."],
    ),
    target.HOSTNAME: Values(
        valid=["shelf.example", "*.shelf.example"],
        boundary=["a", "a" * 253],
        invalid=["", "Upper.example", "*", "a..b", "a b", "*.*.example"],
    ),
    target.HEADER_NAME: Values(
        valid=["x-model"], boundary=["a", "A" * 256], invalid=["", "a b", "a:b", "ä"]
    ),
    target.HEADER_VALUE: Values(
        valid=["candidate", "a b"], boundary=["a", "a" * 256], invalid=["", " a", "a ", "a\n", "ä"]
    ),
    _pattern(base.LabelKey): Values(
        valid=["nvidia.com/gpu"],
        boundary=["", "a", "a" * 253 + "/" + "b" * 63],
        invalid=["-a", "a b", "a//b", "a/b/c", "/a", "A.B/-"],
    ),
}
"""Values for each pattern. Those of the boundary that are too long for a leaf are left out."""


@dataclass(frozen=True)
class Entry:
    """What one leaf, or all leaves within, have besides what their schema implies."""

    valid: tuple[Any, ...] = ()
    boundary: tuple[Any, ...] = ()
    invalid: tuple[Any, ...] = ()
    troubled: tuple[tuple[Any, str], ...] = ()
    """Values that only a condition tells, with its reason."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """Other leaves of every spec that the leaf is tried in."""
    along: Mapping[Any, Mapping[str, Any]] = field(default_factory=dict)
    """By value: other leaves that are set together with it."""
    item: Callable[[int], Any] | None = None
    """Makes the entries of a list, or the pairs of a map."""
    space: str | None = None
    """Namespace, where it matters."""
    derived: bool = True
    """Whether what the schema implies is tried too."""
    unrefused: str = ""
    """Why no value is invalid."""
    silent: str = ""
    """Why the value shows neither in the object's status nor in its children."""


METRIC = {"name": "slow", "metric": "LatencyP95", "max": 0.5}
WRONG_LABELS = ({"a b": "c"}, {"-": "c"}, {"a/b/c": "d"}, {"x" * 64: "c"})
SOME_SERVERS = Entry(
    valid=(2, "25%"),
    boundary=(1, 2_147_483_647, "1%", "100%"),
    invalid=(0, -1, "0%", "101%", "25", "a", "", "25 %", 1.5, True),
)

ENTRIES: dict[str, Entry] = {
    # Dataset
    "Dataset:format": Entry(silent="there is only one format yet"),
    "source.s3": Entry(context={"source": {"s3": {"bucket": "data", "key": "shelf/"}}}),
    "source.pvc": Entry(context={"source": {"pvc": {"claimName": "data"}}}),
    # TrainingJob
    "TrainingJob:modelDigest": Entry(context={"model": "yolo11n.pt"}),
    "TrainingJob:baseVersion": Entry(
        context={"model": OMITTED, "baseVersion": {"name": f"{LINE}-1"}},
    ),
    "TrainingJob:model": Entry(invalid=(OMITTED,)),
    "TrainingJob:output": Entry(silent="goes into the ModelVersion, when the training ends"),
    "TrainingJob:hyperparameters": Entry(
        valid=({"epochs": 3, "lr0": 0.01, "optimizer": "SGD", "cos_lr": True, "classes": [0, 2]},),
        boundary=({}, {"epochs": 1, "imgsz": 32, "batch": -1, "fraction": 1}),
        invalid=(
            [],
            "epochs=3",
            {"lr0": {"a": [1]}},
            {"classes": [[0]]},
            {"optimizer": "S" * 1025},
            {f"epochs{i}": 1 for i in range(129)},
        ),
        troubled=tuple(
            (value, "InvalidHyperparameters")
            for value in (
                {"epoch": 3},
                {"epochs": "3"},
                {"epochs": 0},
                {"imgsz": [640, 480]},
                {"device": 0},
                {"lr0": None},
                {"lr0": [1]},
                {"name": "x"},
                {"": 1},
            )
        ),
    ),
    # ModelVersion and TrainingJob.output
    "ModelVersion:modelLine": Entry(context={"version": 2}),
    "Deployment:allowUnvalidated": Entry(silent="shows only where a version was not evaluated"),
    "exports": Entry(item=lambda i: {"name": f"e{i}"}, invalid=([{"name": "a"}, {"name": "a"}],)),
    "exports[]": Entry(context={"exports[].name": "onnx"}),
    "exports[].name": Entry(invalid=("a" * 21,)),
    "exports[].format": Entry(context={"exports[].gpuProduct": "Orin"}),
    "exports[].precision": Entry(
        context={"exports[].format": "tensorrt", "exports[].gpuProduct": "Orin"}
    ),
    "exports[].batch": Entry(
        valid=(4, "dynamic"),
        boundary=(1, 256),
        invalid=(0, 257, -1, "4", "Dynamic", "", 1.5, True),
    ),
    "exports[].gpuProduct": Entry(
        context={"exports[].format": "tensorrt", "exports[].gpuProduct": "Orin"},
        invalid=(OMITTED,),
    ),
    "lineage.trainingJob": Entry(
        context={"lineage.trainingJob": {"name": "first", "uid": "0d1e"}},
    ),
    # Deployment
    "Deployment:version.policy": Entry(
        context={"modelLine": "pins", "version": {"policy": "Pinned", "number": 2}},
        valid=("Latest",),
        boundary=("Pinned",),
        invalid=("latest", "Newest", 1),
        along={"Latest": {"version.number": OMITTED}},
        derived=False,
    ),
    "Deployment:version.number": Entry(
        context={"modelLine": "pins", "version": {"policy": "Pinned", "number": 3}},
        invalid=(OMITTED,),
        troubled=((7, "VersionNotFound"),),
    ),
    "Deployment:server.batching.preferredSizes": Entry(
        context={"server.batching.maxSize": 1024}, item=lambda i: i + 1
    ),
    "Deployment:server.batching.maxDelay": Entry(
        valid=("5ms",), boundary=("0s", "1s"), invalid=("2s", "1001ms", "", 5, "1d"), derived=False
    ),
    "Deployment:target.cluster.replicas": Entry(space=CROWDED),
    "Deployment:target.cluster.autoscaling": Entry(
        context={"target.cluster.autoscaling": {"maxReplicas": 10_000}},
    ),
    "Deployment:target.cluster.autoscaling.scaleDownDelay": Entry(
        valid=("90s",),
        boundary=("0s", "1h"),
        invalid=("61m", "1h1s", "", "5", 5, "1d"),
        derived=False,
    ),
    "Deployment:target.cluster.disruption.maxUnavailable": Entry(
        context={"target.cluster.replicas": 2},
        valid=(2, "25%"),
        boundary=(1, 2_147_483_647, "1%", "100%"),
        invalid=(0, -1, "0%", "101%", "25", "a", "", "25 %", 1.5, True),
    ),
    "Deployment:target.cluster.gateway": Entry(
        context={"target.cluster.gateway": {"parentRefs": [{"name": "public"}]}},
        silent="shows in routes, whose CRDs are not installed here: tests/cluster/gateway",
    ),
    "Deployment:target.cluster.gateway.parentRefs": Entry(
        item=lambda i: {"name": f"gateway-{i}"},
        invalid=(
            [{"name": "a"}, {"name": "a"}],
            [{"name": "a"}, {"name": "a", "sectionName": "b"}],
        ),
    ),
    "Deployment:target.cluster.gateway.hostnames": Entry(item=lambda i: f"h{i}.example"),
    "Deployment:target.cluster.gateway.grpcHostnames": Entry(item=lambda i: f"h{i}.example"),
    "Deployment:target.cluster.gateway.candidate.header": Entry(
        context={"target.cluster.gateway.candidate.header": {"name": "x", "value": "y"}},
    ),
    "Deployment:target.cluster.scaleToZero": Entry(
        context={
            "target.cluster.autoscaling": {"maxReplicas": 3},
            "target.cluster.scaleToZero": {},
        },
    ),
    "Deployment:target.cluster.scaleToZero.kedaNamespace": Entry(
        silent="KEDA, which it is of, is not installed here",
    ),
    "Deployment:target.cluster.scaleToZero.after": Entry(
        valid=("90s",),
        boundary=("10s", "168h"),
        invalid=("9s", "169h", "", 5, "1d"),
        derived=False,
    ),
    "Deployment:target.cluster.scaleToZero.wait": Entry(
        valid=("90s",),
        boundary=("0s", "1h"),
        invalid=("61m", "", 5, "1d"),
        derived=False,
    ),
    "Deployment:target.cluster.scaleToZero.hosts": Entry(
        item=lambda i: f"h{i}.example",
        context={"target.cluster.scaleToZero": {"by": "Keda"}},
        silent="KEDA, which carries it out, is not installed here",
    ),
    "Deployment:target.cluster.scaleToZero.grpcHosts": Entry(
        item=lambda i: f"h{i}.example",
        context={"target.cluster.scaleToZero": {"by": "Keda"}},
        silent="KEDA, which carries it out, is not installed here",
    ),
    "Deployment:target.cluster.topologySpread": Entry(
        item=lambda i: {"topologyKey": f"example.com/key-{i}"},
        invalid=([{"topologyKey": "a"}, {"topologyKey": "a"}],),
    ),
    "Deployment:target.cluster.topologySpread[]": Entry(
        context={"target.cluster.topologySpread": [{"topologyKey": "rack"}]},
    ),
    "Deployment:rollout": Entry(silent="shows only while a version is rolled out"),
    "Deployment:rollout.maxUnavailable": SOME_SERVERS,
    "Deployment:rollout.failureBudget": Entry(
        valid=(2, "25%"),
        boundary=(0, 2_147_483_647, "0%", "100%"),
        invalid=(-1, "101%", "25", "a", "", "25 %", 1.5, True),
    ),
    "Deployment:rollout.prestageConcurrency": SOME_SERVERS,
    "Deployment:rollout.shadow.servers": SOME_SERVERS,
    "Deployment:rollout.steps": Entry(
        item=lambda i: {"weight": i + 1}, invalid=({"weight": 10}, [10])
    ),
    "Deployment:rollout.steps[]": Entry(context={"rollout.steps[].weight": 10}),
    "Deployment:rollout.steps[].weight": Entry(invalid=(OMITTED,)),
    "Deployment:rollout.steps[].nodes": Entry(
        context={"rollout.steps[].weight": OMITTED, "rollout.steps[].nodes": 3},
        invalid=(OMITTED,),
    ),
    "Deployment:rollout.steps[].pool": Entry(
        context={"rollout.steps[].weight": OMITTED, "rollout.steps[].pool": "a"},
        invalid=(OMITTED,),
    ),
    "analysis.metrics": Entry(
        item=lambda i: {**METRIC, "name": f"m-{i}"}, invalid=([METRIC, METRIC],)
    ),
    "analysis.metrics[]": Entry(
        context={f"analysis.metrics[].{key}": value for key, value in METRIC.items()}
    ),
    "analysis.metrics[].query": Entry(
        context={"analysis.metrics[].metric": OMITTED, "analysis.metrics[].query": "up"}
    ),
    "analysis.metrics[].min": Entry(valid=(0.25,), boundary=(-1e9 + 0.5, 0.5), invalid=(0.75,)),
    "analysis.metrics[].max": Entry(
        context={"analysis.metrics[].min": 0.125},
        valid=(0.25,),
        boundary=(0.125, 1e9 + 0.5),
        invalid=(0.1,),
    ),
    "analysis.metrics[].minRatio": Entry(
        context={"analysis.metrics[].maxRatio": 1.25},
        valid=(0.95,),
        boundary=(0, 1.25),
        invalid=(-0.1, 1.3),
    ),
    "analysis.metrics[].maxRatio": Entry(
        context={"analysis.metrics[].minRatio": 0.5},
        valid=(1.2,),
        boundary=(0.5, 1000.5),
        invalid=(-0.1, 0.4),
    ),
    "Deployment:target.edge": Entry(
        # Played agents report only what changes, and nobody is to be offline for it.
        context={
            "target": {"edge": {"nodeSelector": {f"{EDGE}/edge": "true"}, "offlineAfter": "24h"}}
        }
    ),
    "Deployment:target.edge.nodeSelector": Entry(
        item=lambda i: (f"example.com/key-{i}", "a"), invalid=WRONG_LABELS
    ),
    "Deployment:target.edge.nodeSelector{}": Entry(boundary=("",)),
    "Deployment:target.edge.pools": Entry(
        context={"target.edge.pools": {"label": f"{EDGE}/site", "values": ["a"]}}
    ),
    "Deployment:target.edge.pools.label": Entry(invalid=("",)),
    "Deployment:target.edge.pools.values": Entry(item=lambda i: "ba"[i] if i < 2 else f"p{i}"),
    "Deployment:target.edge.pools.values[]": Entry(
        silent="the pool is one that no node is in, and those have no order"
    ),
    "Deployment:monitoring": Entry(context={"monitoring": {"drift": {}, "capture": {}}}),
    "Deployment:monitoring.drift.fleet": Entry(silent="shows only where several servers drift"),
    "Deployment:monitoring.capture.fleet.images": Entry(
        derived=False,  # What is more than enough for one server makes no difference to it.
        valid=("10/day",),
        boundary=("0/day", "1/day"),
        invalid=("", "5", "-1/day", "1/week", 5),
    ),
    "Deployment:monitoring.capture.retention": Entry(silent="goes to the store's collector"),
    # ModelServer
    "ModelServer:monitoring": Entry(context={"monitoring": {"drift": {}, "capture": {}}}),
    "ModelServer:staged": Entry(context={"staged": ASSIGNED}),
    "ModelServer:shadow": Entry(context={"shadow": {"version": ASSIGNED, "share": 0.5}}),
    # Common to several kinds
    "monitoring.drift.signals": Entry(item=lambda i: list(monitoring.Signal)[i % 4].value),
    "monitoring.drift.explain": Entry(item=lambda i: list(monitoring.Explanation)[i % 5].value),
    "monitoring.capture.redact.classes": Entry(
        context={"monitoring.capture.redact.allowTrainedClasses": True},
        item=lambda i: f"class-{i}",
        invalid=(["a", "a"],),
    ),
    "scheduling.nodeSelector": Entry(
        item=lambda i: (f"example.com/key-{i}", "a"),
        invalid=WRONG_LABELS,
    ),
    "scheduling.nodeSelector{}": Entry(boundary=("",)),
    "scheduling.tolerations": Entry(item=lambda i: {"key": f"k{i}", "operator": "Exists"}),
    "scheduling.tolerations[]": Entry(context={"scheduling.tolerations[].key": "gpu"}),
    "scheduling.tolerations[].key": Entry(
        context={"scheduling.tolerations[].operator": "Exists"},
    ),
    "scheduling.tolerations[].value": Entry(boundary=("",)),
    "scheduling.tolerations[].tolerationSeconds": Entry(
        context={"scheduling.tolerations[].effect": "NoExecute"},
    ),
}
"""By path, of any kind or of one (`Kind:path`). A path applies to all leaves within it, wherever it
stands; the values of an entry only to the very leaf. Paths of a context count from where the
entry's path starts."""


def _applying(leaf: Leaf) -> list[tuple[str, str, Entry]]:
    """(what precedes, path, entry) of the entries that apply, the most general first."""
    found = []
    for key, entry in ENTRIES.items():
        kind, _, path = key.rpartition(":")
        if kind and kind != leaf.kind:
            continue
        at = f".{leaf.path}".find(f".{path}")
        if at < 0:
            continue
        rest = leaf.path[at + len(path) :]
        if rest and rest[0] not in ".[{":
            continue
        if kind and at:
            continue
        found.append((leaf.path[:at], path, entry))
    return sorted(found, key=lambda one: len(one[1]))


@dataclass(frozen=True)
class Plan:
    """How a leaf is tried."""

    leaf: Leaf
    values: Values
    context: Mapping[str, Any]
    along: Mapping[Any, Mapping[str, Any]]
    space: str | None
    unrefused: str
    silent: str


def plan(leaf: Leaf) -> Plan:
    """All that is known about a leaf."""
    context: dict[str, Any] = {}
    own, silent = Entry(), ""
    for before, path, entry in _applying(leaf):
        context |= {before + key: value for key, value in entry.context.items()}
        silent = entry.silent or silent
        if before + path == leaf.path:
            own = entry
    values = derive(leaf, PATTERNS, own.item) if own.derived else Values()
    values.valid += own.valid
    values.boundary += own.boundary
    values.invalid += own.invalid
    values.troubled += own.troubled
    return Plan(leaf, values, context, own.along, own.space, own.unrefused, silent)
