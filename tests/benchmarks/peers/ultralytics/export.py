"""Exports model.pt of a folder; runs where Ultralytics is installed.

python export.py FOLDER SIZE…

model-SIZE.onnx takes one image of SIZE x SIZE pixels, model-SIZE-batch.onnx any number of them; the
latter is made by our own exporter, since Ultralytics' makes height and width dynamic too.
"""

import shutil
import sys
from pathlib import Path

from modelyard.api.export import Export
from modelyard.workloads.export import exporting

folder = Path(sys.argv[1])
for size in sys.argv[2:]:
    for name, batch in ((f"model-{size}.onnx", 1), (f"model-{size}-batch.onnx", "dynamic")):
        weights = folder / f"{name}.part.pt"
        shutil.copy(folder / "model.pt", weights)
        made = exporting.export(weights, Export(imgsz=int(size), batch=batch), format="onnx")
        weights.unlink()
        made.rename(folder / name)
