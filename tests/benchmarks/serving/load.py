"""Sends images or tensors to a server from a process of its own, and writes down each request.

    python -m tests.benchmarks.serving.load '{"kind": "grpc", "target": "127.0.0.1:8001", …}'
    python -m tests.benchmarks.serving.load     # takes a load from each line of stdin, see Driver

Runs until it gets SIGTERM, or for `seconds`. Each row of the result is the moment that a request
was due, its duration (both in seconds of CLOCK_MONOTONIC, which all processes share) and whether
it was answered. At a fixed rate a request is due when the plan says so, however long those before
it took: waiting for a free client counts (no coordinated omission).
"""

from __future__ import annotations

import base64
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..report import ROOT


@dataclass(frozen=True)
class Load:
    """What is sent, where to, and how often."""

    kind: str
    """grpc or http (KServe v2, binary), post (the file as a request body) or json (the same as
    base64 text)."""
    target: str
    """Address and port."""
    model: str
    """Triton's model, or the path for `post` and `json`."""
    payload: str
    """Folder of image files, or a .npy file with one tensor."""
    out: str
    """Where the rows go, as .npy: float64 [requests, 3]."""
    clients: int = 1
    """Connections, each with one request at a time."""
    rate: float | None = None
    """Requests a second over all clients; None: a closed loop."""
    input: str = "IMAGE"
    """Name of the input."""
    seconds: float | None = None
    images: int = 1
    """Images, or tensors, in a request; `post` sends one."""


DONE = "done"
"""What a driver answers when a load's rows are written."""


class Failed(Exception):
    """A request was not answered as it should be."""


def payloads(load: Load) -> list[tuple[bytes, list[int], str]]:
    """Content, shape and type of each thing that is sent, in turn."""
    path, count = Path(load.payload), load.images
    if path.suffix == ".npy":
        tensor = np.load(path)
        return [(tensor.tobytes() * count, [count * tensor.shape[0], *tensor.shape[1:]], "FP32")]
    files = [file.read_bytes() for file in sorted(path.iterdir())]
    if load.kind == "json":
        return [(as_json(data), [], "") for data in files]
    if load.kind == "post":
        return [(data, [], "") for data in files]
    found = [len(data).to_bytes(4, "little") + data for data in files]
    # Each request begins with another image.
    turns = [(found * (1 + count))[first : first + count] for first in range(len(found))]
    return [(b"".join(one), [count], "BYTES") for one in turns]


def as_json(image: bytes) -> bytes:
    """An image as servers take it that read JSON alone."""
    return json.dumps({"image": base64.b64encode(image).decode()}).encode()


def sender(load: Load) -> Callable[[int], None]:
    """A connection of its own; its call sends the payload of a number and waits for the answer.
    Raises Failed."""
    sent = payloads(load)
    if load.kind == "grpc":
        return _grpc_sender(load, sent)
    host, _, port = load.target.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    path = f"/v2/models/{load.model}/infer" if load.kind == "http" else load.model

    def send(number: int) -> None:
        data, shape, dtype = sent[number % len(sent)]
        binary = "json" if load.kind == "json" else "octet-stream"
        headers = {"Content-Type": f"application/{binary}"}
        if load.kind == "http":
            head = json.dumps(
                {
                    "inputs": [
                        {
                            "name": load.input,
                            "shape": shape,
                            "datatype": dtype,
                            "parameters": {"binary_data_size": len(data)},
                        }
                    ],
                    "parameters": {"binary_data_output": True},
                }
            ).encode()
            headers["Inference-Header-Content-Length"] = str(len(head))
            data = head + data
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Failed(f"{answer.status}: {body[:300]!r}")

    return send


def _grpc_sender(load: Load, sent: list[tuple[bytes, list[int], str]]) -> Callable[[int], None]:
    import grpc
    from tritonclient.grpc import service_pb2 as pb
    from tritonclient.grpc import service_pb2_grpc as rpc

    size = 64 * 1024 * 1024
    options = [
        ("grpc.max_receive_message_length", size),
        ("grpc.max_send_message_length", size),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    stub = rpc.GRPCInferenceServiceStub(grpc.insecure_channel(load.target, options=options))
    requests = []
    for data, shape, dtype in sent:
        request = pb.ModelInferRequest(model_name=load.model)
        request.inputs.add(name=load.input, datatype=dtype, shape=shape)
        request.raw_input_contents.append(data)
        requests.append(request)

    def send(number: int) -> None:
        try:
            stub.ModelInfer(requests[number % len(requests)], timeout=30)
        except grpc.RpcError as error:
            raise Failed(str(error)) from error

    return send


class Plan:
    """Hands out numbers of requests with the moments that they are due."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._number = -1
        self._start = time.monotonic()
        self.stopped = threading.Event()

    def next(self) -> tuple[int, float]:
        """The next request; waits until it is due."""
        with self._lock:
            self._number += 1
            number = self._number
        if self._rate is None:
            return number, time.monotonic()
        due = self._start + number / self._rate
        self.stopped.wait(max(0.0, due - time.monotonic()))
        return number, due


def run(load: Load) -> None:
    """Sends until it is stopped, then writes the rows."""
    rows: list[tuple[float, float, float]] = []
    errors: list[str] = []
    connections = [sender(load) for _ in range(load.clients)]
    # Connects all at once, which also fills a server's queue as it will be.
    with ThreadPoolExecutor(load.clients) as pool:
        list(pool.map(lambda send: send(0), connections))
    plan = Plan(load.rate)

    def client(send: Callable[[int], None]) -> None:
        while not plan.stopped.is_set():
            number, due = plan.next()
            if plan.stopped.is_set():
                return
            try:
                send(number)
                answered = 1.0
            except (Failed, OSError, http.client.HTTPException) as error:
                errors.append(str(error))
                answered = 0.0
            rows.append((due, time.monotonic() - due, answered))

    before = signal.signal(signal.SIGTERM, lambda *_: plan.stopped.set())
    threads = [threading.Thread(target=client, args=(send,)) for send in connections]
    for thread in threads:
        thread.start()
    plan.stopped.wait(load.seconds)
    plan.stopped.set()
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGTERM, before)
    np.save(load.out, np.array(rows, np.float64).reshape(-1, 3))
    for text in errors[:3]:
        print(text, file=sys.stderr)


class Driver:
    """A process that runs one load after the other, so that none pays for starting a client."""

    def __init__(
        self, command: list[str] | None = None, folders: tuple[str, str] = ("", ""), **more: Any
    ) -> None:
        """`command` is another program that does the same, to which a folder of ours (first) has
        another path."""
        command = command or [sys.executable, "-m", "tests.benchmarks.serving.load"]
        self._folders = folders
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
        )

    def run(self, load: Load) -> Any:
        """Runs a load with `seconds` to its end: its rows. Raises Failed if the first request of
        a client fails, or the process ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        ours, theirs = self._folders
        seen = {"payload": load.payload, "out": load.out}
        inside = {key: path.replace(ours, theirs, 1) for key, path in seen.items()}
        self._process.stdin.write(json.dumps(asdict(load) | inside) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != DONE:
            raise Failed(answer[:300] or f"the clients of {load.target} have ended")
        return rows(load)

    def stop(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(*loads: Load) -> Iterator[None]:
    """The loads side by side, each in its process; their rows are there afterwards."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.serving.load", json.dumps(asdict(load))],
            cwd=ROOT,
        )
        for load in loads
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def rows(load: Load) -> Any:
    """What a load wrote: [requests, 3] of due, seconds, answered."""
    return np.load(load.out)


def _serve() -> None:
    for line in sys.stdin:
        try:
            run(Load(**json.loads(line)))
            print(DONE, flush=True)
        except (Failed, OSError, http.client.HTTPException) as error:
            print(" ".join(str(error).split()) or repr(error), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        run(Load(**json.loads(sys.argv[1])))
    else:
        _serve()
