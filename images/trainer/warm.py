"""Export a tiny network once while the image is built.

It shows that the image works before anybody runs a job in it, and it leaves the byte code of just
those modules that training, export and evaluation load, so pods start quickly on a read-only root.
"""

import os
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as scratch:
    # Set before the import: both write their settings when they are first imported.
    os.environ |= {"YOLO_CONFIG_DIR": scratch, "MPLCONFIGDIR": scratch, "YOLO_AUTOINSTALL": "false"}
    os.chdir(scratch)

    import httpx  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import obstore.store  # noqa: F401
    import onnxruntime
    import onnxslim  # noqa: F401
    import polars  # noqa: F401
    import pydantic  # noqa: F401
    import torch
    import torchvision  # noqa: F401
    import yaml  # noqa: F401
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator  # noqa: F401

    torch.set_num_threads(1)
    exported = YOLO("yolo11n.yaml").export(format="onnx", imgsz=32, simplify=True, verbose=False)
    size = Path(exported).stat().st_size
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    print(f"exported yolo11n: {size} bytes, outputs {[o.shape for o in session.get_outputs()]}")
