"""Trains a small detector on scenes of handwritten digits and exports it; runs where Ultralytics
is installed.

    python train.py FOLDER EPOCHS SIZE

FOLDER holds data/data.yaml; model.pt and model.onnx (SIZE x SIZE pixels) appear in it.
"""

import shutil
import sys
from pathlib import Path

from ultralytics import YOLO

folder, epochs, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
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
exported = Path(YOLO(weights).export(format="onnx", imgsz=size))
exported.rename(folder / "model.onnx")
weights.rename(folder / "model.pt")
