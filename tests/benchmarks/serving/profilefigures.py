"""Puts a request's time together from traces, stopwatches and statistics. Pure.

    client ─┬─ protocol: client's own work, HTTP or gRPC
            └─ request in Triton (trace) ─┬─ each step's model ─┬─ queue (trace)
                                          │                     ├─ copies: from and to the step's
                                          │                     │  process (trace less stopwatch)
                                          │                     └─ decode, network, … (stopwatch)
                                          └─ scheduling: what is in no model (trace)

All are means over the requests of a run. Triton's statistics count the same requests by other
code, so the sum has to agree with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ..report import Goal, Table, at_most

ORDER = (
    "queue", "scheduling", "guard", "decode", "letterbox", "tensor", "sample", "network", "boxes",
    "count", "copies", "other", "protocol",
)  # fmt: skip
MEANING = {
    "protocol": "client's own work, HTTP or gRPC",
    "queue": "waiting for a free instance",
    "scheduling": "Triton, between steps and to the answer",
    "copies": "to and from the steps' processes, tensors for Triton",
    "guard": "checks of who may ask",
    "decode": "JPEG to pixels",
    "letterbox": "scaling",
    "tensor": "pixels to the network's input",
    "sample": "copies for a shadow",
    "network": "ONNX Runtime",
    "boxes": "selection and suppression",
    "count": "metrics",
    "other": "the steps' remaining code",
}
MOST_DISAGREEMENT = 0.05


@dataclass
class Request:
    """One traced request to a model, with those to its steps."""

    model: str
    times: Mapping[str, int]
    """Triton's events, in nanoseconds."""
    children: list[Request] = field(default_factory=list)

    def between(self, begin: str, end: str) -> int:
        """Nanoseconds between two events; 0 where one is missing."""
        if begin not in self.times or end not in self.times:
            return 0
        return self.times[end] - self.times[begin]

    @property
    def whole(self) -> int:
        """Nanoseconds from its arrival in Triton's core to its answer."""
        return self.between("REQUEST_START", "REQUEST_END")

    @property
    def computed(self) -> int:
        """Nanoseconds until its step had computed. A step's request ends later, when the next step
        has begun already."""
        return self.between("REQUEST_START", "COMPUTE_OUTPUT_START") or self.whole


@dataclass(frozen=True)
class Span:
    """What a step's stopwatch says of one request, in nanoseconds."""

    whole: int
    images: int
    laps: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """Triton's statistics of a model: requests, and their total times in nanoseconds."""

    requests: int
    whole: int
    queue: int
    compute: int

    @classmethod
    def of(cls, found: Any) -> Self:
        """From a message InferStatistics."""
        parts = (found.compute_input, found.compute_infer, found.compute_output)
        return cls(
            requests=found.success.count,
            whole=found.success.ns,
            queue=found.queue.ns,
            compute=sum(part.ns for part in parts),
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.requests - other.requests,
            self.whole - other.whole,
            self.queue - other.queue,
            self.compute - other.compute,
        )


@dataclass(frozen=True)
class Profile:
    """Where the time of a request goes: means in seconds."""

    protocol: str
    clients: int
    requests: int
    seen: float
    """By the client."""
    steps: dict[str, float]
    """By name; they add up to `seen`."""
    by_statistics: float | None
    """Within Triton, as its statistics say."""
    computing: float
    """Of it computing in models, as the statistics say."""
    watched: float
    """Of it in the steps' own code, as their stopwatches say."""

    @property
    def inside(self) -> float:
        """Within Triton, as the steps add up."""
        return sum(value for name, value in self.steps.items() if name != "protocol")

    @property
    def disagreement(self) -> float | None:
        """Difference to the statistics, as a share of them."""
        if not self.by_statistics:
            return None
        return abs(self.inside / self.by_statistics - 1)


def put_together(
    *,
    protocol: str,
    clients: int,
    seen: tuple[float, int],
    first: int,
    traces: Sequence[Request],
    spans: Mapping[str, Sequence[Span]],
    counted: Mapping[str, Counts],
) -> Profile:
    """The profile of a run, of all requests that were traced and counted. `seen` is the client's
    mean in seconds and the number of requests that it timed, those from `first` on (nanoseconds).
    Raises ValueError without traces."""
    if not traces:
        raise ValueError("Triton has traced no request")
    steps: dict[str, float] = {}

    def add(name: str, nanoseconds: float) -> None:
        steps[name] = steps.get(name, 0.0) + nanoseconds / 1e9

    count = len(traces)
    models: dict[str, list[Request]] = {}
    for request in traces:
        for child in request.children or [request]:
            models.setdefault(child.model, []).append(child)
    whole = sum(request.whole for request in traces) / count
    within = 0.0
    for model, requests in models.items():
        within += sum(one.computed for one in requests) / count
        _add_model(add, model, requests, spans.get(model, ()), count)
    add("scheduling", whole - within)
    timed = [one.whole for one in traces if one.times["REQUEST_START"] >= first]
    protocol_time = seen[0] * 1e9 - sum(timed) / max(len(timed), 1)
    add("protocol", protocol_time)
    root = counted.get(traces[0].model)
    return Profile(
        protocol=protocol,
        clients=clients,
        requests=seen[1],
        seen=(whole + protocol_time) / 1e9,
        steps=steps,
        by_statistics=root.whole / root.requests / 1e9 if root and root.requests else None,
        computing=_mean(
            models, count, lambda model: _each(counted[model]) if model in counted else 0.0
        ),
        watched=_mean(models, count, lambda model: _watched(spans.get(model, ()))),
    )


def _mean(
    models: Mapping[str, Sequence[Request]], count: int, each: Callable[[str], float]
) -> float:
    """Seconds in models of one of `count` requests, `each` being a model's mean nanoseconds."""
    return sum(each(name) * len(requests) for name, requests in models.items()) / count / 1e9


def _each(counts: Counts) -> float:
    return counts.compute / counts.requests if counts.requests else 0.0


def _watched(spans: Sequence[Span]) -> float:
    images = sum(one.images for one in spans)
    return sum(one.whole for one in spans) / images if images else 0.0


def _add_model(
    add: Any, model: str, requests: Sequence[Request], spans: Sequence[Span], count: int
) -> None:
    """Adds a step's parts. `count` is the number of requests that the means are over."""
    waited = sum(one.between("QUEUE_START", "COMPUTE_START") for one in requests)
    whole = sum(one.computed for one in requests)
    add("queue", waited / count)
    if not spans:
        # A step without a stopwatch: the vendor's C++ backends, which compute networks.
        computed = sum(one.between("COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START") for one in requests)
        name = "network" if model.endswith("-network") else "other"
        add(name, computed / count)
        add("copies", (whole - waited - computed) / count)
        return
    # The stopwatches saw a few requests more or less than were traced: means, not sums. A step may
    # also write once for several requests.
    images = sum(one.images for one in spans)
    share = len(requests) / count
    measured = 0.0
    for name in {name for one in spans for name in one.laps}:
        mean = sum(one.laps.get(name, 0) for one in spans) / images
        measured += mean * share
        add(name, mean * share)
    add("copies", (whole - waited) / count - measured)


def report(profiles: Sequence[Profile], notes: Sequence[str]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the profiles."""
    known = [name for name in ORDER if any(name in one.steps for one in profiles)]
    known += sorted({name for one in profiles for name in one.steps} - set(ORDER))
    rows = []
    for name in known:
        row = [f"{name}: {MEANING[name]}" if name in MEANING else name]
        row += [_cell(one.steps.get(name, 0.0), one.seen) for one in profiles]
        rows.append(row)
    for title, figure in (
        ("**as the client sees it**", lambda one: one.seen),
        ("within Triton, these steps", lambda one: one.inside),
        ("within Triton, its statistics", lambda one: one.by_statistics or 0.0),
        ("of it computing, its statistics", lambda one: one.computing),
        ("of it in our code, stopwatches", lambda one: one.watched),
    ):
        rows.append([title, *(f"{1e3 * figure(one):.2f}" for one in profiles)])
    columns = ["ms a request (share)"]
    columns += [
        f"{one.protocol}, {one.clients} client{'s' * (one.clients > 1)}" for one in profiles
    ]
    note = "Means; all processes on the same cores, so a step also waits while others compute."
    table = Table("Where the time goes", columns, rows, " ".join([note, *notes]))
    found = [one.disagreement for one in profiles]
    known_found = [each for each in found if each is not None]
    worst = max(known_found) if len(known_found) == len(found) and found else None
    goal = at_most(
        "steps against Triton's statistics, largest difference",
        MOST_DISAGREEMENT,
        None if worst is None else round(worst, 4),
    )
    return [table], [goal]


def _cell(seconds: float, whole: float) -> str:
    return f"{1e3 * seconds:.2f} ({seconds / whole:.0%})"


def dump(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """All profiles for the report's file."""
    return [{"part": "profile", **asdict(one)} for one in profiles]
