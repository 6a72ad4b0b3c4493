"""Trains a small detector on scenes of handwritten digits; runs where Ultralytics is installed.

    python train.py FOLDER EPOCHS

FOLDER holds data/data.yaml; model.pt appears in it.
"""

import shutil
import sys
from pathlib import Path

from ultralytics import YOLO

folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
trained = YOLO("yolo11n.yaml").train(
    data=folder / "data" / "data.yaml",
    epochs=epochs,
    imgsz=128,
    batch=16,
    workers=0,
    device="cpu",
    seed=0,
    project=str(folder / "runs"),
    name="train",
    exist_ok=True,
    plots=False,
)
weights = folder / "model.part.pt"
shutil.copy(folder / "runs" / "train" / "weights" / "best.pt", weights)
weights.rename(folder / "model.pt")
