"""What part `overhead` compares: each arm a server that is up, and the load to send to it.

All arms of a network are up at once and asked in turns: idle, they cost next to nothing. What
cannot be installed or started here is left out, by name and with its reason.
"""

from __future__ import annotations

import ast
import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.serving import config as configs
from modelyard.serving.names import Generation
from modelyard.serving.settings import ServingSettings

from ..report import ROOT, Say
from ..site import free_port
from . import layout
from .load import Driver, Failed, Load, sender
from .site import LINE, Site, manifest, started
from .trainer import NoTrainer

PLAIN = "plain"
RAW, OURS, OURS_HTTP, BEFORE = "network", "pipeline-grpc", "pipeline-http", "before-grpc"
CLIENT = "ultralytics-triton"
FASTAPI = ("fastapi-onnx", "fastapi-onnx-cores", "fastapi-pt", "fastapi-pt-cores")
LABELS = {
    PLAIN: "Triton without our agent, network as a plain model, gRPC",
    RAW: f"Modelyard, {LINE}-network (raw network), gRPC",
    OURS: f"Modelyard, {LINE} (JPEG in, boxes out), gRPC",
    OURS_HTTP: f"Modelyard, {LINE} (JPEG in, boxes out), HTTP",
    BEFORE: "Modelyard before, the same, gRPC",
    "fastapi-onnx": 'FastAPI, YOLO("model.onnx"), one worker',
    "fastapi-onnx-cores": 'FastAPI, YOLO("model.onnx"), one worker a core',
    "fastapi-pt": 'FastAPI, YOLO("model.pt"), one worker',
    "fastapi-pt-cores": 'FastAPI, YOLO("model.pt"), one worker a core',
    "litserve": 'LitServe, YOLO("model.onnx"), one worker',
    CLIENT: 'Ultralytics\' client, YOLO("http://…") of the plain Triton',
}
START_SECONDS = 240


@dataclass
class Target:
    """Where and how an arm is asked."""

    kind: str
    address: str
    model: str
    driver: Driver
    tensor: bool = False
    """Takes the network's input tensor instead of images."""
    input: str = "IMAGE"

    def load(self, folder: Path, payload: str, clients: int, seconds: float) -> Load:
        """A closed loop."""
        return Load(
            kind=self.kind,
            target=self.address,
            model=self.model,
            payload=payload,
            out=str(folder / "rows.npy"),
            clients=clients,
            seconds=seconds,
            input=self.input,
        )


@dataclass
class Arms:
    """The arms of one network."""

    targets: dict[str, Target] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Arms that cannot run here, and why."""


@contextmanager
def all_of(
    site: Site, size: int, wanted: Mapping[str, str], clients: int, against: Path | None, say: Say
) -> Iterator[Arms]:
    """Starts the wanted arms for one network. `clients` is the most there will be, `against` a
    checkout whose layout is asked too."""
    folder = site.folder / f"arms-{size}"
    folder.mkdir()
    arms = Arms()
    with ExitStack() as stack:
        driver = Driver()
        stack.callback(driver.stop)
        if {RAW, OURS, OURS_HTTP} & set(wanted):
            up = stack.enter_context(_layout(site, ROOT, folder / "ours", size))
            field_name = manifest(site.network(size)).input.name
            arms.targets[RAW] = Target(
                "grpc", up.grpc, f"{LINE}-network", driver, tensor=True, input=field_name
            )
            arms.targets[OURS] = Target("grpc", up.grpc, LINE, driver)
            arms.targets[OURS_HTTP] = Target("http", up.http, LINE, driver)
        if against is not None and BEFORE in wanted:
            up = stack.enter_context(_layout(site, against, folder / "before", size))
            arms.targets[BEFORE] = Target("grpc", up.grpc, LINE, driver)
        if {PLAIN, CLIENT} & set(wanted):
            address = stack.enter_context(plain(site, size))
            arms.targets[PLAIN] = Target(
                "grpc", address["grpc"], PLAIN, driver, tensor=True, input="images"
            )
            if CLIENT in wanted:
                with _may_lack(arms, CLIENT, say):
                    arms.targets[CLIENT] = _client(site, stack, size, address["http"], clients)
        for name in (*FASTAPI, "litserve"):
            if name in wanted:
                with _may_lack(arms, name, say):
                    up_at = stack.enter_context(peer(site, name, size))
                    arms.targets[name] = Target(body_of(name), up_at[0], "/predict", driver)
        arms.targets = {name: arms.targets[name] for name in wanted if name in arms.targets}
        yield arms


@contextmanager
def _may_lack(arms: Arms, name: str, say: Say) -> Iterator[None]:
    try:
        yield
    except NoTrainer as error:
        arms.left_out[name] = " ".join(str(error).split())[:300]
        say(f"{name} is left out: {arms.left_out[name]}")


@contextmanager
def _layout(site: Site, tree: Path, folder: Path, size: int) -> Iterator[layout.Up]:
    with layout.serving(tree, folder, site.network(size), free_port()) as up:
        yield up


@contextmanager
def checkout(ref: str | None, folder: Path) -> Iterator[Path | None]:
    """A worktree of another commit, for as long as the context is open; None without a ref."""
    if not ref:
        yield None
        return
    tree = folder / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), ref], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)


@contextmanager
def plain(site: Site, size: int) -> Iterator[dict[str, str]]:
    """The same network with the same threads, as a user of Triton would place it: addresses."""
    server = site.server(f"plain-{size}")
    described = manifest(site.network(size))
    generation = Generation(LINE, 1, "0" * 8)
    config = configs.generation_configs(generation, described, ServingSettings(cpus=site.cpus))[
        generation.network
    ]
    config.name = PLAIN
    # What Ultralytics' client reads.
    names = dict(enumerate(described.classes))
    metadata = {"names": names, "stride": 32, "task": "detect", "batch": 1, "imgsz": [size, size],
                "channels": 3}  # fmt: skip
    config.parameters["metadata"].string_value = str(metadata)
    assert ast.literal_eval(str(metadata)) == metadata
    folder = server.root / PLAIN / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(configs.to_text(config))
    shutil.copy(site.network(size), folder / "model.onnx")

    async def load() -> None:
        client = server.client()
        await client.load(PLAIN)
        await client.close()

    with asyncio.run(started(server)):
        asyncio.run(load())
        yield {"grpc": server.grpc, "http": server.http}


def _client(site: Site, stack: ExitStack, size: int, address: str, clients: int) -> Target:
    site.trainer.install("triton")
    log = site.folder / f"client-{size}.log"
    driver = site.trainer.driver(log, "/bench/triton_client.py", str(clients), packages="triton")
    stack.callback(driver.stop)
    return Target("ultralytics", address, PLAIN, driver, input=str(size))


def body_of(name: str) -> str:
    """How a peer takes images: a kind of load."""
    return "json" if name == "litserve" else "post"


@contextmanager
def peer(site: Site, name: str, size: int) -> Iterator[tuple[str, int, float]]:
    """A server in the trainer image that answers: its address, the leader of its process group,
    and seconds from its start to the first answer. Raises NoTrainer."""
    program, _, form = name.partition("-")
    site.trainer.install(program)
    port = free_port()
    model = "/bench/model.pt" if form.startswith("pt") else f"/bench/model-{size}.onnx"
    script = "/bench/litserver.py" if program == "litserve" else "/bench/server.py"
    workers = site.cpus if form.endswith("cores") else 1
    log = site.folder / f"{name}-{size}.log"
    begun = time.monotonic()
    serving = site.trainer.serving(
        log, script, model, str(size), str(port), str(workers), packages=program
    )
    first = Load(body_of(name), f"127.0.0.1:{port}", "/predict", str(site.images), out="")
    with serving as leader:
        _wait_answer(first, log, leader)
        took = time.monotonic() - begun
        # The other workers are as warm as the first one.
        for _ in range(10 * workers - 10):
            sender(first)(0)
        yield f"127.0.0.1:{port}", leader, took


def _wait_answer(first: Load, log: Path, leader: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return sender(first)(0)
        except Failed as error:
            raise NoTrainer(f"it answers {error}") from None
        except OSError:
            gone = not Path(f"/proc/{leader}").exists()
            if gone or time.monotonic() > deadline:
                raise NoTrainer(f"it does not start: {log.read_text()[-600:]}") from None
            time.sleep(0.1)
