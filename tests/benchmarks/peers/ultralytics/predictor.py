"""Ultralytics' batched predict, without any server: what a script over files does.

    python predictor.py MODEL SIZE

Takes a load from each line of stdin (`tests/benchmarks/serving/load.py`), of which it uses payload,
images, seconds and out; writes its rows and answers `done`.
"""

import json
import os
import sys
import time
from pathlib import Path

# Before these imports: Ultralytics prints what it does.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from ultralytics import YOLO  # noqa: E402

model = YOLO(sys.argv[1], task="detect")
size = int(sys.argv[2])
# A file with a dynamic batch is taken for one of any size, which ours is not.
rect = sys.argv[1].endswith(".pt")


def predict(images):
    """Decodes images and finds boxes in all of them at once."""
    pixels = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in images]
    found = model.predict(pixels, imgsz=size, batch=len(pixels), rect=rect, verbose=False)
    return [one.boxes.xyxy.tolist() for one in found]


for line in sys.stdin:
    load = json.loads(line)
    files = [file.read_bytes() for file in sorted(Path(load["payload"]).iterdir())]
    count = load["images"]
    turns = [(files * (1 + count))[first : first + count] for first in range(len(files))]
    predict(turns[0])
    rows = []
    start = time.monotonic()
    while (due := time.monotonic()) < start + load["seconds"]:
        predict(turns[len(rows) % len(turns)])
        rows.append((due, time.monotonic() - due, 1.0))
    np.save(load["out"], np.array(rows, np.float64).reshape(-1, 3))
    print("done", file=answers, flush=True)
