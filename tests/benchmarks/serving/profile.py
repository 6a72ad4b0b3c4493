"""Part `profile` of the benchmark of serving: where the time of a request goes, step by step.

One real Triton with the pipeline, profiled as it serves: the steps' own stopwatch
(`serving/models/timing.py`), Triton's trace of each request, and its statistics, which the other
two have to agree with. All three use CLOCK_MONOTONIC. A flame graph by py-spy says what the Python
processes do. How the times are put together: profilefigures.py; the picture: flame.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from modelyard.serving.models.timing import FOLDER_VARIABLE
from modelyard.serving.triton import CONTROL_HEADER

from ..report import FOLDER, ROOT, Say
from ..site import free_port
from . import flame, layout
from .load import Driver, Load
from .profilefigures import Counts, Profile, Request, Span, put_together
from .site import LINE, Site
from .trainer import NoTrainer, install

CLIENTS = (1, 8)
PYSPY = ("py-spy>=0.4,<1",)
RATE = 199
"""Samples a second of the flame graph: not in step with anything."""
TRACES_A_FILE = 1
PICTURE = FOLDER / "serving-profile.svg"


def measure(
    site: Site, seconds: float, size: int, image: str, say: Say
) -> tuple[list[Profile], list[str]]:
    """A profile for each number of clients over each protocol, and what could not be done."""
    folder = site.folder / "profile"
    laps = folder / "laps"
    traces = folder / "traces"
    for one in (laps, traces):
        one.mkdir(parents=True)
    options = [
        "--trace-config=mode=triton",
        f"--trace-config=triton,file={traces}/trace.json",
        f"--trace-config=triton,log-frequency={TRACES_A_FILE}",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=1",
        "--trace-config=count=-1",
    ]
    profiles: list[Profile] = []
    notes: list[str] = []
    serving = layout.serving(
        ROOT, folder / "server", site.network(size), free_port(),
        environment={FOLDER_VARIABLE: str(laps)}, options=options,
    )  # fmt: skip
    with serving as up, _driver() as driver:
        for protocol, target in (("grpc", up.grpc), ("http", up.http)):
            for clients in CLIENTS:
                load = Load(
                    kind=protocol, target=target, model=LINE, payload=str(site.jpegs(image)),
                    out=str(site.folder / "profile.npy"), clients=clients, seconds=seconds,
                )  # fmt: skip
                profiles.append(_profile(load, driver, up, laps, traces))
                found = profiles[-1]
                say(f"{protocol}, {clients} clients: {found.seen * 1e3:.1f} ms a request")
        load = Load(
            kind="grpc", target=up.grpc, model=LINE, payload=str(site.jpegs(image)),
            out=str(site.folder / "flame.npy"), clients=4, seconds=seconds + 2,
        )  # fmt: skip
        try:
            stacks = _stacks(site, driver, load, up.triton, seconds)
        except NoTrainer as error:
            notes.append(f"No flame graph: {error}")
        else:
            title = f"Triton's Python processes, {size} px, {image}, 4 clients"
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(flame.svg(stacks, title))
            notes.append(f"[Flame graph]({PICTURE.name}) by py-spy: {title}.")
            say(f"{PICTURE.relative_to(ROOT)}: {sum(stacks.values())} samples")
    return profiles, notes


@contextmanager
def _driver() -> Iterator[Driver]:
    driver = Driver()
    try:
        yield driver
    finally:
        driver.stop()


def _profile(load: Load, driver: Driver, up: layout.Up, laps: Path, traces: Path) -> Profile:
    # So that what is counted has no first requests in it.
    driver.run(dataclasses.replace(load, seconds=1.0))
    before = statistics(up)
    begun = time.monotonic_ns()
    rows = driver.run(load)
    after, ended = statistics(up), time.monotonic_ns()
    return put_together(
        protocol=load.kind,
        clients=load.clients,
        seen=(float(rows[:, 1].mean()), len(rows)),
        first=int(1e9 * rows[:, 0].min()),
        traces=read_traces(traces, begun, ended),
        spans=read_spans(laps, begun, ended),
        counted={name: count - before[name] for name, count in after.items() if name in before},
    )


def statistics(up: layout.Up) -> dict[str, Counts]:
    """Triton's statistics of all models that it has loaded, by name."""
    # https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
    key = Path(up.control_key).read_text().strip()
    with grpc.insecure_channel(up.grpc) as channel:
        answer = rpc.GRPCInferenceServiceStub(channel).ModelStatistics(
            pb.ModelStatisticsRequest(), timeout=10, metadata=((CONTROL_HEADER, key),)
        )
    return {one.name: Counts.of(one.inference_stats) for one in answer.model_stats}


def read_traces(folder: Path, begun: int, ended: int) -> list[Request]:
    """Requests to the pipeline that Triton has traced from start to end within a time."""
    found: dict[int, dict[str, Any]] = {}
    for file in folder.iterdir():
        for entry in _entries(file):
            one = found.setdefault(entry["id"], {"times": {}})
            one |= {key: entry[key] for key in ("model_name", "parent_id") if key in entry}
            one["times"] |= {each["name"]: each["ns"] for each in entry.get("timestamps", ())}
    requests = {
        key: Request(one["model_name"], one["times"])
        for key, one in found.items()
        if "model_name" in one and {"REQUEST_START", "REQUEST_END"} <= one["times"].keys()
    }
    for key, one in requests.items():
        parent = requests.get(found[key].get("parent_id", 0))
        if parent is not None:
            parent.children.append(one)
    return [
        one
        for key, one in requests.items()
        if not found[key].get("parent_id")
        and begun <= one.times["REQUEST_START"]
        and one.times["REQUEST_END"] <= ended
    ]


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(file.read_text())
    except ValueError:  # being written
        return []
    return entries


def read_spans(folder: Path, begun: int, ended: int) -> dict[str, list[Span]]:
    """What the steps' stopwatches wrote within a time, by model."""
    found: dict[str, list[Span]] = {}
    for file in folder.iterdir():
        model = file.name.rsplit(".", 2)[0]
        for line in file.read_text().splitlines():
            one = json.loads(line)
            if begun <= one["begin"] and one["end"] <= ended:
                span = Span(one["end"] - one["begin"], one["images"], one["laps"])
                found.setdefault(model, []).append(span)
    return found


def _stacks(site: Site, driver: Driver, load: Load, leader: int, seconds: float) -> dict[str, int]:
    """Samples by stack, of all Python steps of a server under load. Raises NoTrainer."""
    program = install(site.kept / "packages" / "py-spy", PYSPY) / "bin" / "py-spy"
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for pid in _steps(leader):
            out = Path(folder) / f"{pid}.txt"
            command = [
                *(str(program), "record", "--pid", str(pid), "--format", "raw"),
                *("--output", str(out), "--duration", str(max(1, int(seconds)))),
                *("--rate", str(RATE), "--native"),
            ]
            log = (Path(folder) / f"{pid}.log").open("wb")
            running.append(
                (_step_name(pid), out, subprocess.Popen(command, stdout=log, stderr=log))
            )
        driver.run(load)
        stacks: dict[str, int] = {}
        for name, out, process in running:
            process.wait(60)
            if not out.is_file():
                raise NoTrainer(out.with_suffix(".log").read_text()[-300:])
            for line in out.read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                key = f"{name};{flame.readable(stack)}"
                stacks[key] = stacks.get(key, 0) + int(count)
        return stacks


def _steps(leader: int) -> list[int]:
    """Python processes of Triton's process group."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            mine = os.getpgid(int(folder.name)) == leader
            if mine and b"python_backend_stub" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _step_name(pid: int) -> str:
    """What a stub runs: a step of the pipeline, or our ONNX Runtime backend. Its command line
    names the file."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    paths = [Path(word.decode()) for word in words if word.endswith(b"model.py")]
    if not paths:
        return str(pid)
    folders = [part for part in paths[0].parts if part.startswith(f"{LINE}-")]
    return folders[-1].rpartition("-")[2] if folders else paths[0].parent.name


def main(arguments: Sequence[str]) -> None:
    """Draws a picture from stacks: `python -m tests.benchmarks.serving.profile < STACKS`."""
    stacks = dict(line.rsplit(" ", 1) for line in sys.stdin.read().splitlines())
    print(flame.svg({key: int(value) for key, value in stacks.items()}, " ".join(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
