"""Ultralytics, made fit for a pod: no network, no writes outside scratch, threads by CPU limit.

Everything that Ultralytics reads when it is first imported is set before that, so the other
modules import it inside functions, after `load`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.workloads import images

log = logging.getLogger("modelyard.train")

_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
_INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def load(scratch: Path, threads: int) -> None:
    """Import Ultralytics and torch for a pod that may write to `scratch` and use `threads`.

    Changes environment variables and the working directory; call it once, before any other import
    of either.
    """
    home = scratch / "ultralytics"
    home.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        # No DNS look-up at import, no update check, no telemetry.
        "YOLO_OFFLINE": "true",
        # A missing package is an error of the image, not something to pip-install in a job.
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(home),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        # Checkpoints may contain Ultralytics' and torch's classes and nothing else (weights_only):
        # a guard beside the isolation (core/stages.py), not instead of it. A user's trainer image
        # with classes of its own sets it to false.
        "ULTRALYTICS_SAFE_LOAD": os.environ.get("ULTRALYTICS_SAFE_LOAD", "true"),
        "TORCH_HOME": str(home / "torch"),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    # Ultralytics looks for model and data files in the working directory and downloads into it.
    os.chdir(home)

    import torch
    import ultralytics.utils
    from ultralytics import YOLO  # noqa: F401
    from ultralytics.engine import exporter, trainer  # noqa: F401
    from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: F401

    _join_logs()
    # A bar redraws its line, which a log cannot; each epoch is logged with its figures instead.
    _replace("TQDM", partial(ultralytics.utils.TQDM, disable=True))
    ultralytics.utils.SETTINGS.update({"sync": False, **dict.fromkeys(_INTEGRATIONS, False)})
    torch.set_num_threads(threads)
    # Ultralytics takes the node's cores for its own, minus one, and sets torch's threads to that.
    _replace("NUM_THREADS", threads)
    # A font for plots is fetched with every dataset that is read; drawing falls back to another.
    _replace("check_font", _no_font)
    # Images are decoded as the dataset check and the server decode them, and none is left out.
    _replace("imread", images.imread)
    _replace("check_image", images.check_image)
    _replace("safe_download", _refuse_download)


def bound_onnxruntime(threads: int) -> None:
    """Have ONNX Runtime use `threads` in sessions that Ultralytics opens: its own default is one
    per core of the node."""
    import onnxruntime

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model: Any, options: Any = None, *args: Any, **kwargs: Any) -> None:
            options = options or onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            super().__init__(model, options, *args, **kwargs)

    onnxruntime.InferenceSession = Session


def _replace(name: str, value: Any) -> None:
    """Set a name in every loaded module of Ultralytics: they import it from one another."""
    found = 0
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("ultralytics.") and name in vars(module):
            setattr(module, name, value)
            found += 1
    if not found:
        log.warning("this Ultralytics has no %s: it may behave differently in a pod", name)


def _join_logs() -> None:
    """Ultralytics' messages go where ours go, in the same form."""
    logger = logging.getLogger("ultralytics")
    logger.handlers.clear()
    logger.propagate = True
    logger.addFilter(_plain)


def _plain(record: logging.LogRecord) -> bool:
    """Takes colours and blank lines out; false for a message that is empty then."""
    record.msg, record.args = _COLOUR.sub("", record.getMessage()).strip("\n"), ()
    return bool(record.msg.strip())


def _no_font(font: str = "") -> None:
    return None


def _refuse_download(url: str, *_args: Any, **_kwargs: Any) -> None:
    """Raises ConnectionError, which Ultralytics takes for being offline."""
    raise ConnectionError(f"{url} is not downloaded: pods take what they need from the store")
