"""What a training starts from: pretrained weights, a ModelVersion's weights, or an architecture."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from modelyard.api.trainingjob import NOT_SERVED
from modelyard.contract.paths import weights_key
from modelyard.contract.run import TrainRun
from modelyard.store import Store
from modelyard.workloads import weights
from modelyard.workloads.errors import RetryableError, UserError
from modelyard.workloads.train import servable

log = logging.getLogger("modelyard.train")

RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
"""Ultralytics' release of pretrained weights."""
UNKNOWN_MODEL = "UnknownModel"

_NOT_SERVED = re.compile(NOT_SERVED)
_SCALES = re.compile(r"^  ([a-z]): \[", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """What Ultralytics loads."""

    model: str
    """Path of a .pt file, or name of an architecture."""
    digest: str | None
    """Digest of the weights; None from scratch."""


def find(run: TrainRun, store: Store, directory: Path) -> Start:
    """Fetch what the run starts from into `directory`; `environment.load` comes first.

    Raises UserError, RetryableError, StoreError.
    """
    if run.base_weights is not None:
        if run.base_weights.format != "pt":
            raise UserError(
                "BaseVersionNotTrainable",
                "spec.baseVersion was made from ONNX weights, which cannot be trained further: "
                "choose a ModelVersion that was trained, or one with weights of format pt",
            )
        path = weights.fetch(store, run, run.base_weights, directory)
        return Start(str(path), run.base_weights.digest)
    if run.model is None:
        raise UserError(UNKNOWN_MODEL, "set spec.model or spec.baseVersion")
    if run.model.endswith(".yaml"):
        return Start(_architecture(run.model), None)
    return _pretrained(run, run.model, store, directory)


def load(start: Start) -> Any:
    """The model as Ultralytics' YOLO. Raises UserError for a file that is not a model which can be
    served once it is trained."""
    from ultralytics import YOLO

    try:
        model = YOLO(start.model)
    except Exception as error:
        # Whatever unpickling a stranger's file raises, the file is at fault.
        raise UserError(
            "WeightsUnreadable",
            f"{Path(start.model).name} ({start.digest or 'architecture'}) is not a model that "
            f"Ultralytics can load: {' '.join(str(error).split())[:300]}",
        ) from error
    servable.require(model, Path(start.model).name)
    return model


def _architecture(name: str) -> str:
    known = architectures()
    if name not in known:
        raise UserError(UNKNOWN_MODEL, f"spec.model: {_unknown(name, known)}")
    return name


def architectures() -> list[str]:
    """Names of the detection architectures that Ultralytics brings, with their scales."""
    from ultralytics.utils import ROOT

    names: set[str] = set()
    for path in (ROOT / "cfg" / "models").rglob("*.yaml"):
        if _NOT_SERVED.match(path.name):
            continue
        names.add(path.name)
        for scale in _SCALES.findall(path.read_text(encoding="utf-8")):
            # The scale follows the version: yolo11 and yolo26-p6 become yolo11n and yolo26n-p6.
            names.add(re.sub(r"^([a-z-]+\d+)", rf"\g<1>{scale}", path.stem) + ".yaml")
    return sorted(names)


def _pretrained(run: TrainRun, name: str, store: Store, directory: Path) -> Start:
    """From the store's mirror, else from Ultralytics' release into it."""
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    path, digest = directory / name, run.model_digest
    if digest and not weights.stored(store, digest, path):
        return Start(str(path), digest)
    pointer = store.get_pointer(weights_key(name))
    if pointer and isinstance(pointer.get("digest"), str):
        mirrored = str(pointer["digest"])
        if digest and mirrored != digest:
            raise UserError(
                weights.MISMATCH,
                f"{name} in the store has digest {mirrored}, but spec.modelDigest wants {digest}: "
                "correct spec.modelDigest, or add the right file with `modelyard weights add FILE "
                f"-n {run.object.namespace}`",
            )
        if not weights.stored(store, mirrored, path):
            return Start(str(path), mirrored)
        # Missing or damaged: the release's file mends it, if it is the same one.
        digest = mirrored

    known = [n for n in GITHUB_ASSETS_NAMES if n.endswith(".pt") and not _NOT_SERVED.match(n)]
    if name not in known:
        raise UserError(
            UNKNOWN_MODEL,
            f"spec.model: {_unknown(name, known)} Weights of your own are added with `modelyard "
            f"weights add FILE -n {run.object.namespace}`.",
        )
    url = f"{RELEASE}/{name}"
    try:
        weights.download(url, path, run)
    except (UserError, RetryableError) as error:
        # Not the user's fault either way, and the store may be given the file meanwhile.
        raise RetryableError(
            weights.UNAVAILABLE,
            f"{name} is not in the store, and {error.message}: download it where there is a "
            f"network and add it with `modelyard weights add {name} -n {run.object.namespace}`, or "
            f"train from scratch with model: {Path(name).stem}.yaml",
        ) from error
    if digest:
        weights.verify(path, digest, url)
    found = store.put_file(path)
    store.put_pointer(weights_key(name), {"digest": found, "source": url})
    log.info("%s has digest %s and is now mirrored in the store", name, found)
    return Start(str(path), found)


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "take for example yolo11n or yolo26n."
    return f'Ultralytics has no detection model "{name}"; {hint}'
