"""Ultralytics' own client of a Triton: the network there, everything else here.

    python triton_client.py CLIENTS

Each client is a process of its own with `YOLO("http://…")`. Takes a load from each line of stdin
(`tests/benchmarks/serving/load.py`), writes its rows and answers `done`.
"""

import json
import multiprocessing
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from ultralytics import YOLO


def client(pipe):
    """Sends what it is told, until there is nothing more. Rows: due, seconds, answered."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    models = {}
    while True:
        try:
            load = pipe.recv()
        except EOFError:
            return
        url = f"http://{load['target']}/{load['model']}"
        images = [file.read_bytes() for file in sorted(Path(load["payload"]).iterdir())]
        size = int(load["input"])

        def send(number):
            image = cv2.imdecode(np.frombuffer(images[number % len(images)], np.uint8), 1)
            models[url].predict(image, imgsz=size, verbose=False)[0].boxes.xyxy.tolist()

        if url not in models:
            models[url] = YOLO(url, task="detect")
        send(0)
        pipe.send("ready")
        start, seconds = pipe.recv()
        rows = []
        while (due := time.monotonic()) < start + seconds:
            try:
                send(len(rows))
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
        context.Process(target=client, args=(theirs,), daemon=True).start()
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
        print("done", flush=True)
