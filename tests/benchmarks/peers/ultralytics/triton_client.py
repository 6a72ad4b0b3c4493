"""Ultralytics' own client of a Triton: the network there, everything else here.

    python triton_client.py CLIENTS

Each client is a process of its own with `YOLO("http://…")`. Takes a load from each line of stdin
(`tests/benchmarks/serving/load.py`), writes its rows and answers `done`.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

# Before these imports: Ultralytics prints what it does.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402


class Client:
    """One client of one model, with images in turn."""

    def __init__(self, load):
        self.model = YOLO(f"http://{load['target']}/{load['model']}", task="detect")

    def take(self, load):
        """What is sent from now on."""
        files = sorted(Path(load["payload"]).iterdir())
        self.images = [np.frombuffer(file.read_bytes(), np.uint8) for file in files]
        self.size = int(load["input"])

    def send(self, number):
        """Decodes an image and waits for its boxes."""
        image = cv2.imdecode(self.images[number % len(self.images)], cv2.IMREAD_COLOR)
        return self.model.predict(image, imgsz=self.size, verbose=False)[0].boxes.xyxy.tolist()


def serve(pipe):
    """Sends what it is told, until there is nothing more. Rows: due, seconds, answered."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    client = None
    while True:
        try:
            load = pipe.recv()
        except EOFError:
            return
        client = client or Client(load)
        client.take(load)
        client.send(0)
        pipe.send("ready")
        start, seconds = pipe.recv()
        rows = []
        while (due := time.monotonic()) < start + seconds:
            try:
                client.send(len(rows))
                answered = 1.0
            except Exception as error:
                print(error, file=sys.stderr)
                answered = 0.0
            rows.append((due, time.monotonic() - due, answered))
        pipe.send(rows)


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    pipes = []
    for _ in range(int(sys.argv[1])):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs,), daemon=True).start()
        pipes.append(ours)
    for line in sys.stdin:
        load = json.loads(line)
        used = pipes[: load["clients"]]
        for pipe in used:
            pipe.send(load)
        for pipe in used:
            pipe.recv()
        start = time.monotonic()
        for pipe in used:
            pipe.send((start, load["seconds"]))
        rows = [row for pipe in used for row in pipe.recv()]
        np.save(load["out"], np.array(rows, np.float64).reshape(-1, 3))
        print("done", file=answers, flush=True)
